"""What replicas remember together, on a real API server: learnt by one, known by all, taken away by the leader only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from signer.core.chain import fingerprint
from signer.core.errors import BackendUnavailable
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import KnownRoot, TrustRecord, decode, encode
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.observe.health import Health
from signer.trust.bundle import LiveBundle
from signer.trust.compose import TrustPolicy
from signer.trust.distribution.record import KEY, RecordPlace, SharedRecord
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.rbac import account_kubeconfig
from tests.distribution.scene import Switchable, until
from tests.support.clock import DAY, HOUR, NOW, FakeClock
from tests.support.fakes import FakeBackend
from tests.support.pki import Ca, make_ca

A, B, C = (make_ca(f"record root {letter}") for letter in "abc")
NAME = "istio-signer-trust"
RIGHTS: tuple[Manifest, ...] = (
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": ["get", "list", "watch", "update"],
        "resourceNames": [NAME],
    },
)


@dataclass
class Replica:
    """A bundle with its share in the record."""

    backend: FakeBackend
    bundle: LiveBundle
    record: SharedRecord
    leads: Switchable

    async def shows(self, *roots: Ca) -> None:
        """Its backend has these roots from now on."""
        self.backend.roots = roots
        await self.bundle.refresh()

    def trusts(self, *roots: Ca) -> bool:
        """Whether it trusts these and no others."""
        return set(self.bundle.current().roots) == {ca.certificate for ca in roots}


@dataclass
class Place:
    """A namespace with a record, and a clock that all replicas share."""

    kube: Kube
    api: KubeApi
    namespace: str
    clock: FakeClock

    @asynccontextmanager
    async def replica(self, *roots: Ca, leads: bool = False) -> AsyncIterator[Replica]:
        """One more, at work."""
        backend, leading = FakeBackend("b", *roots), Switchable(leads)
        bundle = LiveBundle([backend], Health(()), self.clock, TrustPolicy(retention=HOUR))
        record = SharedRecord(self.api, RecordPlace(self.namespace, NAME), bundle, leading, self.clock)
        await bundle.refresh()
        work = asyncio.create_task(record.run())
        try:
            yield Replica(backend, bundle, record, leading)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def stored(self) -> TrustRecord | None:
        """What lies in the cluster."""
        found = [m for m in self.kube.list_all("v1", "ConfigMap", self.namespace) if m["metadata"]["name"] == NAME]
        return decode(found[0]["data"][KEY]) if found else None

    def holds(self, *roots: Ca) -> bool:
        """Whether it has these and no others."""
        record = self.stored()
        return record is not None and set(record.roots) == {fingerprint(ca.certificate) for ca in roots}

    def write(self, text: str) -> None:
        """Somebody writes into it."""
        self.kube.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {KEY: text}}, self.namespace
        )


@pytest.fixture
async def place(kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Place]:
    """One with an account of the rights that deploy/rbac gives."""
    api = await connect(account_kubeconfig(kube, tmp_path / "kubeconfig", namespace, "signer", RIGHTS))
    yield Place(kube, api, namespace, FakeClock())
    await api.close()


async def test_what_one_has_learnt_all_know(place: Place) -> None:
    async with place.replica(A) as one, place.replica(A) as other:
        await until(lambda: place.holds(A), 5, "the record")
        await one.shows(A, B)
        await until(lambda: other.trusts(A, B), 5, "the other one to know")
        assert place.holds(A, B)
        assert one.bundle.current().pem == other.bundle.current().pem


async def test_a_restart_forgets_nothing(place: Place) -> None:
    """The CA has been replaced, and whoever knew the old one is gone: its leaves are out there."""
    async with place.replica(A):
        await until(lambda: place.holds(A), 5, "the record")
    async with place.replica(B) as later:
        await until(lambda: later.trusts(A, B), 5, "the old root too")
        await until(lambda: place.holds(A, B), 5, "the record")


async def test_only_the_leader_takes_away_and_only_when_it_is_time(place: Place) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(place.replica(A, leads=True))
        other = await stack.enter_async_context(place.replica(A))
        await until(lambda: place.holds(A), 5, "the record")
        await one.shows(B)
        await other.shows(B)
        await until(lambda: place.holds(A, B), 5, "both")
        place.clock.advance(2 * HOUR)
        one.leads.leads = False
        await other.bundle.refresh()
        await asyncio.sleep(1.0)
        assert place.holds(A, B), "nobody leads"
        one.leads.leads = True
        # As whoever begins to lead does.
        await one.record.read()
        await until(lambda: place.holds(B), 5, "the old root to go")
        assert one.trusts(B)
        assert other.trusts(B)


async def test_a_rotation_reaches_every_replica(place: Place) -> None:
    async with place.replica(A, leads=True) as one, place.replica(A) as other:
        await until(lambda: place.holds(A), 5, "the record")
        stored = place.stored()
        assert stored is not None
        rotation = Rotation("r", "b", Phase.TRUSTING, (A.certificate,), NOW, B.certificate)
        await asyncio.to_thread(place.write, encode(TrustRecord(stored.roots, rotation)))
        await until(lambda: one.trusts(A, B) and other.trusts(A, B), 5, "the new root")
        await one.shows(A, C)
        await until(lambda: place.holds(A, C), 5, "one more root")
        assert (place.stored() or stored).rotation == rotation, "writing a root leaves the rotation alone"


async def test_a_replica_that_remembers_more_does_not_write_it_back(place: Place) -> None:
    """Its backend is down, so that it forgets nothing; what the leader takes away is not put there again and again."""
    async with place.replica(A, leads=True) as one, place.replica(A) as other:
        await until(lambda: place.holds(A), 5, "the record")
        await one.shows(B)
        await until(lambda: other.trusts(A, B), 5, "the other one to know")
        other.bundle._known.clear()
        other.backend.describing.fault = BackendUnavailable("down")
        place.clock.advance(2 * HOUR)
        await one.shows(B)
        await until(lambda: place.holds(B), 5, "the old root to go")
        found = place.kube.get("v1", "ConfigMap", NAME, place.namespace)["metadata"]["resourceVersion"]
        await other.bundle.refresh()
        await asyncio.sleep(2.0)
        assert place.kube.get("v1", "ConfigMap", NAME, place.namespace)["metadata"]["resourceVersion"] == found


@pytest.mark.parametrize(("text", "known"), [("not JSON", False), (encode(TrustRecord()), True)])
async def test_whoever_begins_to_lead_reads_it_or_does_not_lead(place: Place, text: str, known: bool) -> None:
    async with place.replica(A) as one:
        await until(lambda: place.holds(A), 5, "the record")
        await asyncio.to_thread(place.write, text)
        assert await one.record.read() == known
        await asyncio.to_thread(place.kube.delete, "v1", "ConfigMap", NAME, place.namespace)
        assert await one.record.read(), "nobody has written one yet"


async def test_since_when_a_root_is_everywhere(place: Place) -> None:
    async with place.replica(A, leads=True) as one:
        await until(lambda: place.holds(A), 5, "the record")
        mark = fingerprint(A.certificate)
        one.record.published(frozenset({mark}))
        await until(lambda: (place.stored() or TrustRecord()).roots[mark].everywhere == NOW, 5, "its time")
        place.clock.advance(HOUR / 2)
        await one.shows(A, B)
        one.record.published(frozenset({mark, fingerprint(B.certificate)}))
        later = NOW + HOUR / 2
        await until(
            lambda: {k.everywhere for k in (place.stored() or TrustRecord()).roots.values()} == {NOW, later}, 5, "both"
        )


@pytest.mark.parametrize("text", ["{}", "not JSON", '{"version": 99, "roots": [], "rotation": null}'])
async def test_what_is_no_record_is_left_alone_and_said(
    place: Place, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may hold a rotation that a later version has begun."""
    place.write(text)
    async with place.replica(A, leads=True) as one:
        await until(lambda: bool(one.record.fault), 5, "the fault")
        await one.shows(A, B)
        await asyncio.sleep(0.5)
        assert one.trusts(A, B), "it goes on with its own memory"
        found = place.kube.get("v1", "ConfigMap", NAME, place.namespace)
        assert found["data"][KEY] == text
        assert "holds no record" in caplog.text
        await asyncio.to_thread(place.write, encode(TrustRecord()))
        await until(lambda: place.holds(A, B), 5, "the record, mended")


async def test_a_record_that_was_deleted_is_written_again(place: Place) -> None:
    rotation = Rotation("r", "b", Phase.SIGNING, (A.certificate,), NOW, B.certificate)
    known = {fingerprint(A.certificate): KnownRoot(A.certificate, NOW + DAY)}
    place.write(encode(TrustRecord(known, rotation)))
    async with place.replica(A, leads=True) as one:
        await until(lambda: one.trusts(A, B), 5, "the rotation")
        await asyncio.to_thread(place.kube.delete, "v1", "ConfigMap", NAME, place.namespace)
        await until(lambda: (place.stored() or TrustRecord()).rotation == rotation, 5, "the rotation, again")


async def test_a_backend_that_is_down_at_the_start_loses_no_root(place: Place) -> None:
    """It has shown nothing yet; its leaves are out there all the same."""
    async with place.replica(A):
        await until(lambda: place.holds(A), 5, "the record")
    place.clock.advance(timedelta(hours=3))
    backend = FakeBackend("b", A)
    backend.describing.fault = BackendUnavailable("sealed")
    bundle = LiveBundle([backend], Health(()), place.clock, TrustPolicy(retention=HOUR))
    record = SharedRecord(place.api, RecordPlace(place.namespace, NAME), bundle, Switchable(), place.clock)
    await bundle.refresh()
    work = asyncio.create_task(record.run())
    await until(lambda: set(bundle.current().roots) == {A.certificate}, 5, "the root of before")
    await asyncio.sleep(0.5)
    assert place.holds(A)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
