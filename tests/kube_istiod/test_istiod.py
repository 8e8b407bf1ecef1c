"""istiod's Secret: made, renewed, repaired, and never fought over."""

import asyncio
import subprocess
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509

from signer.core.chain import TrustBundle
from signer.runtime.clock import SystemClock
from signer.trust.istiod.secret import Manifest
from tests.cluster.api import Kube
from tests.kube_istiod.scene import NAME, Replica, Stage, ca_files, data, roots, serial
from tests.support.clock import DAY, FakeClock
from tests.support.pki import Ca, make_ca

NOW = datetime.now(UTC).replace(microsecond=0)
LONG = (NOW - DAY, NOW + 300 * DAY)


def make_cas() -> tuple[Ca, Ca]:
    """root <- mesh"""
    root = make_ca("istiod root", window=LONG)
    return root, make_ca("istiod mesh", root, window=LONG)


@pytest_asyncio.fixture
async def stage(kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """In real time."""
    made = Stage.of(kube, namespace, tmp_path, make_cas(), SystemClock())
    yield made
    await made.close()


@pytest_asyncio.fixture
async def still(kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[Stage, FakeClock]]:
    """In time that a test moves."""
    clock = FakeClock(NOW)
    made = Stage.of(kube, namespace, tmp_path, make_cas(), clock)
    yield made, clock
    await made.close()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that the API server has a part in.

    Raises:
        TimeoutError: It does not come to hold.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  it hangs on another process
            await asyncio.sleep(0.02)


def _another_than(secret: Manifest) -> Callable[[Manifest], bool]:
    """Whether a certificate is not the one of before."""
    old = serial(secret)
    return lambda found: serial(found) != old


def _whole(secret: dict[str, object]) -> bool:
    return bool(data(secret, "tls.crt"))


async def test_made_and_verified_by_openssl(stage: Stage, tmp_path: Path) -> None:
    """A TLS Secret whose chain and names another implementation accepts."""
    replica = await stage.replica()
    async with replica.running():
        secret = await stage.becomes(_whole)
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "istio-signer"}
    assert set(secret["data"]) == {"tls.crt", "tls.key", "ca.crt"}
    for name in secret["data"]:
        (tmp_path / name).write_bytes(data(secret, name))
    for host in (f"istiod.{stage.namespace}.svc", f"istiod-canary.{stage.namespace}.svc", "istiod.example"):
        _openssl(tmp_path, "verify", "-CAfile", "ca.crt", "-untrusted", "tls.crt", "-purpose", "sslserver",
                 "-verify_hostname", host, "tls.crt")  # fmt: skip
    public = _openssl(tmp_path, "x509", "-in", "tls.crt", "-noout", "-pubkey")
    assert public == _openssl(tmp_path, "pkey", "-in", "tls.key", "-pubout")
    assert replica.results == ["success"]


def _openssl(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_an_rsa_key_where_wanted(stage: Stage) -> None:
    """And a change of mind is a new certificate."""
    first = await stage.replica(key_type="RSA-2048")
    async with first.running():
        before = await stage.becomes(_whole)
    assert x509.load_pem_x509_certificate(data(before, "tls.crt")).public_key().key_size == 2048  # type: ignore[union-attr]
    async with (await stage.replica()).running():
        await stage.becomes(_another_than(before))


async def test_what_is_good_is_kept(stage: Stage) -> None:
    """A restart, or a new leader, issues nothing."""
    async with (await stage.replica()).running():
        before = await stage.becomes(_whole)
    other = await stage.replica()
    async with other.running():
        await until(lambda: bool(other.news))
    assert stage.secret() == before
    assert other.results == []
    assert other.news[0].end is not None


async def test_deleted_and_back_within_a_second(stage: Stage) -> None:
    """Each time."""
    async with (await stage.replica()).running():
        for _ in range(3):
            before = await stage.becomes(_whole)
            await asyncio.to_thread(stage.delete)
            begun = time.monotonic()
            after = await stage.becomes(_another_than(before))
            assert time.monotonic() - begun < 1.0
            assert after["metadata"]["uid"] != before["metadata"]["uid"]


@pytest.mark.parametrize("value", ["", b64encode(b"rubbish").decode()], ids=["empty", "rubbish"])
@pytest.mark.parametrize("name", ["tls_crt", "tls_key"])
async def test_edited_by_hand(stage: Stage, name: str, value: str) -> None:
    """A new certificate within a second; what is not ours in the Secret stays."""
    async with (await stage.replica()).running():
        before = await stage.becomes(_whole)
        await asyncio.to_thread(lambda: stage.edit(**{name: value}, note=b64encode(b"mine").decode()))
        begun = time.monotonic()
        after = await stage.becomes(lambda s: data(s, name.replace("_", ".")) not in (b"", b"rubbish"))
        assert time.monotonic() - begun < 1.0
    assert serial(after) != serial(before)
    assert data(after, "note") == b"mine"
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_roots_edited_by_hand(stage: Stage) -> None:
    """They are put back, and the certificate stays."""
    async with (await stage.replica()).running():
        before = await stage.becomes(_whole)
        await asyncio.to_thread(lambda: stage.edit(ca_crt=b64encode(b"rubbish").decode()))
        after = await stage.becomes(lambda s: data(s, "ca.crt") == roots(stage.root).encode(), 1.5)
    assert after["data"] == before["data"]


async def test_a_root_joins_and_the_old_one_leaves(stage: Stage) -> None:
    """ca.crt follows at once; the certificate is new only when its own root has left."""
    other = make_ca("istiod other", window=LONG)
    replica = await stage.replica()
    async with replica.running():
        before = await stage.becomes(_whole)
        replica.bundle.now = replica.bundle.next = TrustBundle.of([stage.root.certificate, other.certificate])
        joined = await stage.becomes(lambda s: data(s, "ca.crt") == roots(stage.root, other).encode(), 1.5)
        assert serial(joined) == serial(before)
        await _swap_ca(replica, stage, other)
        replica.bundle.now = replica.bundle.next = TrustBundle.of([other.certificate])
        left = await stage.becomes(_another_than(before), 3.0)
    assert data(left, "ca.crt") == roots(other).encode()
    assert replica.results == ["success", "success"]


async def _swap_ca(replica: Replica, stage: Stage, ca: Ca) -> None:
    await asyncio.to_thread(ca_files, stage.directory, ca, (), ca)
    await replica.backend.reload()


async def test_somebody_elses_is_left_alone(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """It is said what to do, once, however often it changes. Once it is gone, ours takes its place."""
    stage.kube.apply(_foreign(stage))
    replica = await stage.replica()
    async with replica.running():
        await until(lambda: replica.results == ["failure"])
        await asyncio.to_thread(lambda: stage.edit(note=b64encode(b"x").decode()))
        with pytest.raises(TimeoutError):
            await stage.becomes(lambda s: data(s, "tls.crt") != b"theirs", 1.5)
        assert caplog.text.count("is left alone: it has no label app.kubernetes.io/managed-by=istio-signer") == 1
        assert "set istiod.adopt to true" in caplog.text
        await asyncio.to_thread(stage.delete)
        await stage.becomes(_whole, 1.5)
    assert replica.results == ["failure", "success"]


def _foreign(stage: Stage) -> dict[str, object]:
    metadata = {"name": NAME, "namespace": stage.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata,
            "stringData": {"tls.crt": "theirs", "tls.key": "theirs"}}  # fmt: skip


async def test_adopted_where_it_is_wanted(stage: Stage) -> None:
    """The same object, with our certificate and our label."""
    before = stage.kube.apply(_foreign(stage))[0]
    async with (await stage.replica(adopt=True)).running():
        after = await stage.becomes(lambda s: data(s, "tls.crt") != b"theirs")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    async with (await stage.replica()).running():
        assert await stage.becomes(_whole) == after


async def test_renewed_by_the_grace_ratio(still: tuple[Stage, FakeClock]) -> None:
    """At that moment and not before, with a new key."""
    stage, clock = still
    replica = await stage.replica(grace_ratio=0.25)
    async with replica.running():
        before = await stage.becomes(_whole)
        await until(lambda: bool(replica.news) and replica.news[-1].due is not None)
        due = replica.news[-1].due
        assert due is not None
        clock.set(due - timedelta(seconds=1))
        with pytest.raises(TimeoutError):
            await stage.becomes(_another_than(before), 1.0)
        clock.set(due)
        after = await stage.becomes(_another_than(before), 2.0)
        # The Secret is there before the replica has heard that its write was taken.
        await until(lambda: len(replica.results) == 2)
    assert data(after, "tls.key") != data(before, "tls.key")
    assert replica.results == ["success", "success"]


async def test_a_backend_that_is_down(still: tuple[Stage, FakeClock], caplog: pytest.LogCaptureFixture) -> None:
    """The old certificate stays; it is tried again, and louder once half of the grace time is gone."""
    stage, clock = still
    replica = await stage.replica()
    async with replica.running():
        before = await stage.becomes(_whole)
        replica.down()
        clock.advance(timedelta(hours=13))
        await until(lambda: replica.results.count("failure") == 1)
        clock.advance(timedelta(hours=6))
        await until(lambda: replica.results.count("failure") == 2)
        assert stage.secret() == before
        replica.backend.switch.fault = None
        clock.advance(60)
        await stage.becomes(_another_than(before))
    said = [r.levelname for r in caplog.records if "sealed" in r.getMessage() and r.name == "istio_signer.istiod"]
    assert said == ["WARNING", "ERROR"]
    assert "its certificate serves until" in caplog.text


async def test_who_leads_no_longer_writes_nothing(stage: Stage) -> None:
    """The older one is in the middle of issuing when the newer one takes over."""
    older, newer = await stage.replica(), await stage.replica()
    older.backend.switch.held = True
    newer.office.leads = False
    async with older.running(), newer.running():
        await older.backend.switch.entered.wait()
        newer.office.leads = True
        secret = await stage.becomes(_whole)
        older.office.leads = False
        older.backend.switch.opened.set()
        await until(lambda: bool(older.news))
    assert stage.secret() == secret
    assert older.results == []


@pytest.mark.parametrize("there", [False, True], ids=["created", "replaced"])
async def test_two_that_both_believe_to_lead(stage: Stage, there: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What the newer one wrote stays: the older one's write is a conflict, and then it finds nothing to do."""
    caplog.set_level("INFO")
    older, newer = await stage.replica(), await stage.replica()
    if there:
        async with (await stage.replica()).running():
            await stage.becomes(_whole)
        await asyncio.to_thread(lambda: stage.edit(tls_crt=""))
    older.backend.switch.held = True
    newer.office.leads = False
    async with older.running(), newer.running():
        await older.backend.switch.entered.wait()
        newer.office.leads = True
        secret = await stage.becomes(_whole)
        older.backend.switch.opened.set()
        await until(lambda: bool(older.news))
        assert stage.secret() == secret
    assert "was written by somebody else in the meantime" in caplog.text
    assert older.results == []
    assert newer.results == ["success"]


async def test_many_at_once(stage: Stage) -> None:
    """However many believe to lead, one certificate is in the Secret and all agree on it."""
    replicas = [await stage.replica() for _ in range(5)]
    async with AsyncExitStack() as work:
        for replica in replicas:
            await work.enter_async_context(replica.running())
        await until(lambda: all(r.news and r.news[-1].end for r in replicas))
        await asyncio.to_thread(stage.delete)
        await stage.becomes(_whole, 2.0)
        await until(lambda: sum(len(r.results) for r in replicas) == 2)
    assert [result for replica in replicas for result in replica.results] == ["success"] * 2


async def test_not_leading(stage: Stage) -> None:
    """Nothing is read and nothing is made; in office at last, it is."""
    replica = await stage.replica()
    replica.office.leads = False
    async with replica.running():
        with pytest.raises(TimeoutError):
            await stage.becomes(_whole, 1.0)
        assert replica.news == []
        replica.office.leads = True
        await stage.becomes(_whole)
        replica.office.leads = False
        await until(lambda: replica.news[-1].end is None)
        await asyncio.to_thread(stage.delete)
        with pytest.raises(TimeoutError):
            await stage.becomes(_whole, 1.0)


async def test_immutable(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written is said with the API server's reason, and never with a key."""
    metadata = {"name": NAME, "namespace": stage.namespace, "labels": {"app.kubernetes.io/managed-by": "istio-signer"}}
    stage.kube.apply({**_foreign(stage), "metadata": metadata, "immutable": True})
    replica = await stage.replica()
    async with replica.running():
        await until(lambda: "failure" in replica.results)
    assert "immutable" in caplog.text
    assert "LS0tLS1" not in caplog.text


async def test_without_rights(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Another Secret's name: the manifest's rights do not reach it, and that is said."""
    replica = await stage.replica()
    replica.place = replace(replica.place, name="other")
    async with replica.running():
        await until(lambda: "failure" in replica.results)
    assert "HTTP 403" in caplog.text
