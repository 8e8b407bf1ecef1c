"""When istiod's Secret is looked at, and what happens where that fails: patience, loudness, bounds."""

import asyncio
import random
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from signer.core.chain import TrustBundle
from signer.core.errors import BackendUnavailable
from signer.core.ports import Leads
from signer.kube.answer import Answer, ApiUnavailable
from signer.observe.gauges import show_istiod
from signer.observe.metrics import Metrics
from signer.trust.istiod import service
from signer.trust.istiod.judge import Wanted
from signer.trust.istiod.mender import plan
from signer.trust.istiod.secret import KEY, Manifest, secret_manifest
from signer.trust.istiod.service import WRITES, WRITES_SECONDS, IstiodCertificate, News
from signer.trust.istiod.store import Conflict, SecretStore
from signer.trust.serving import KeyPair, PairUnavailable
from tests.corpus.answers import root
from tests.support.clock import DAY, HOUR, NOW, FakeClock
from tests.support.fakes import FakeBundle
from tests.support.pki import make_ca
from tests.support.waiting import give_up, settle, until
from tests.unit.trust.istiod_scene import BUNDLE, PLACE, WANTED, Found

_SECRET = "hunter2"
_TWO_ROOTS = TrustBundle.of([root().certificate, make_ca("second").certificate])


@dataclass
class FakeApi:
    """One Secret, in memory; every answer can be bent."""

    secret: Manifest | None = None
    fault: BaseException | None = None
    answer: Answer | None = None
    conflict: bool = False
    reads: int = 0
    written: list[tuple[str, Manifest]] = field(default_factory=list)

    async def call(self, method: str, path: str, timeout: float, body: Manifest | None = None) -> Answer:
        """GET or PUT."""
        if self.fault is not None:
            raise self.fault
        if method == "GET":
            self.reads += 1
            return Answer(404, {}) if self.secret is None else Answer(200, deepcopy(self.secret))
        return self._write(method, body or {})

    async def post(self, path: str, body: Manifest, timeout: float) -> Answer:
        """Create."""
        return self._write("POST", body)

    def _write(self, method: str, body: Manifest) -> Answer:
        self.written.append((method, body))
        if self.conflict:
            return Answer(409, {})
        if self.answer is not None:
            return self.answer
        self.secret = deepcopy(body) | {"metadata": {**body["metadata"], "resourceVersion": str(len(self.written))}}
        return Answer(200, {})


class FakeWatch:
    """Rings when a test says so."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.ended: asyncio.Event = asyncio.Event()

    async def run(self) -> None:
        """Until told to break."""
        await self.ended.wait()
        raise RuntimeError(_SECRET)


class Store(SecretStore):
    """Over the fake, with the fake watch."""

    def __init__(self, api: FakeApi) -> None:
        super().__init__(api, PLACE)  # type: ignore[arg-type]
        self.watches: list[FakeWatch] = []

    def watch(self, changed: Callable[[], None]) -> Any:
        """Make one."""
        self.watches.append(FakeWatch(changed))
        return self.watches[-1]


@dataclass
class FakeSource:
    """Issues what a scene says."""

    clock: FakeClock
    fault: Exception | None = None
    lifetime: timedelta = DAY
    begun: timedelta = timedelta(0)
    made: int = 0
    meanwhile: Callable[[], None] = lambda: None

    async def obtain(self) -> KeyPair:
        """The next one."""
        self.made += 1
        self.meanwhile()
        if self.fault is not None:
            raise self.fault
        window = (self.clock.now() - self.begun, self.clock.now() + self.lifetime)
        data = Found(window=window).manifest()["data"]
        return KeyPair(b64decode(data["tls.key"]), b64decode(data["tls.crt"]), window, self.made)


@dataclass
class Office:
    """Who leads."""

    leads: bool = True


@dataclass
class Desk:
    """A service with its parts in reach."""

    clock: FakeClock = field(default_factory=FakeClock)
    api: FakeApi = field(default_factory=FakeApi)
    bundle: FakeBundle = field(default_factory=lambda: FakeBundle(root()))
    office: Office = field(default_factory=Office)
    news: list[News] = field(default_factory=list)
    running: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = FakeSource(self.clock)
        self.store = Store(self.api)

    def start(self, wanted: Wanted = WANTED) -> None:
        """Have it run."""
        office: Leads = self.office
        made = IstiodCertificate(self.store, self.source, self.bundle, wanted, self.clock, office, self.news.append)
        self.running.append(asyncio.create_task(made.run()))

    async def hears(self, count: int) -> News:
        """Wait for so many news."""
        await until(lambda: len(self.news) >= count)
        await settle()
        assert len(self.news) == count
        return self.news[-1]

    def ring(self) -> None:
        """Have the watch say that something changed."""
        self.store.watches[-1].ring()


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """One to be started, that looks at its clock at each turn of the loop; chance takes nothing off pauses."""
    monkeypatch.setattr(service, "_TICK", 0)
    monkeypatch.setattr(service, "_LULL", 0)
    monkeypatch.setattr(service, "_REST", 0)
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    monkeypatch.setattr(random, "random", lambda: 1.0)
    made = Desk()
    yield made
    await give_up(*made.running)


async def test_made_once(desk: Desk) -> None:
    """And then left in peace."""
    desk.start()
    assert await desk.hears(1) == News("success", NOW + DAY, NOW + DAY / 2)
    assert [method for method, _ in desk.api.written] == ["POST"]
    assert desk.api.reads == 1


async def test_a_bell_is_a_look_not_a_write(desk: Desk) -> None:
    """What is read is judged, whatever was heard."""
    desk.start()
    await desk.hears(1)
    desk.ring()
    assert (await desk.hears(2)).result is None
    assert (desk.api.reads, len(desk.api.written)) == (2, 1)


async def test_looked_at_now_and_then(desk: Desk) -> None:
    """A deaf watch hides a deletion for a minute, no longer."""
    desk.start()
    await desk.hears(1)
    desk.api.secret = None
    desk.clock.advance(59)
    await settle()
    assert desk.source.made == 1
    desk.clock.advance(1)
    assert (await desk.hears(2)).result == "success"


async def test_a_new_root_is_written_at_once(desk: Desk) -> None:
    """No event tells of it; the certificate stays."""
    desk.start()
    await desk.hears(1)
    desk.bundle.now = _TWO_ROOTS
    assert (await desk.hears(2)).result is None
    assert [method for method, _ in desk.api.written] == ["POST", "PUT"]
    first, second = (body["data"] for _, body in desk.api.written)
    assert b64decode(second["ca.crt"]).decode() == _TWO_ROOTS.pem
    assert first["tls.crt"] == second["tls.crt"]
    assert desk.source.made == 1


async def test_a_root_that_issuing_brought_is_written_with_it(desk: Desk) -> None:
    """The source asks the backends for their roots again."""
    desk.source.meanwhile = lambda: setattr(desk.bundle, "now", _TWO_ROOTS)
    desk.start()
    await desk.hears(1)
    ((_, body),) = desk.api.written
    assert b64decode(body["data"]["ca.crt"]).decode() == _TWO_ROOTS.pem


async def test_deposed_while_it_issues(desk: Desk) -> None:
    """Nothing is sent to the API server, not even to be refused."""
    desk.source.meanwhile = lambda: setattr(desk.office, "leads", False)
    desk.start()
    assert await desk.hears(1) == News()
    assert desk.source.made == 1
    assert desk.api.written == []


async def test_retries_back_off(desk: Desk) -> None:
    """From a second to a minute, by chance down to half of it, for ever."""
    desk.source.fault = PairUnavailable("no")
    desk.start()
    await desk.hears(1)
    for attempt, pause in enumerate([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0], start=1):
        desk.ring()
        desk.clock.advance(pause - 0.25)
        await settle()
        assert desk.source.made == attempt
        desk.clock.advance(0.25)
        await desk.hears(attempt + 1)


async def test_the_api_servers_wish_is_obeyed(desk: Desk) -> None:
    """Retry-After."""
    desk.api.fault = ApiUnavailable("HTTP 429", retry_after=7.0)
    desk.start()
    await desk.hears(1)
    desk.api.fault = None
    desk.clock.advance(6.9)
    await settle()
    assert len(desk.news) == 1
    desk.clock.advance(0.1)
    assert (await desk.hears(2)).result == "success"


LOUD = {"soon": (HOUR, "WARNING"), "half": (6 * HOUR, "WARNING"), "over half": (7 * HOUR, "ERROR")}


@pytest.mark.parametrize(("after", "level"), LOUD.values(), ids=LOUD.keys())
async def test_how_loud(after: timedelta, level: str, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """By what is left of the time between due and end."""
    desk.start()
    await desk.hears(1)
    desk.source.fault = BackendUnavailable("sealed")
    desk.clock.advance(DAY / 2 + after)
    assert await desk.hears(2) == News("failure", NOW + DAY, NOW + DAY / 2)
    assert caplog.records[-1].levelname == level
    assert "its certificate serves until 2025-06-02T12:00:00+00:00" in caplog.text


@pytest.mark.parametrize(
    ("fault", "secret", "said"),
    [
        (None, None, "it holds none that is good"),
        (ApiUnavailable("down"), Found().manifest(), "what it holds is not known"),
    ],
)
async def test_with_nothing_to_fall_back_on(
    fault: Exception | None, secret: Manifest | None, said: str, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """At once as loud as can be."""
    desk.source.fault, desk.api.fault, desk.api.secret = PairUnavailable("no"), fault, secret
    desk.start()
    await desk.hears(1)
    assert caplog.records[-1].levelname == "ERROR"
    assert said in caplog.text


async def test_a_bug(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Told with its frames, never with its text; it ends nothing."""
    desk.source.fault = KeyError("hunter2")
    desk.start()
    await desk.hears(1)
    assert "bug: KeyError" in caplog.text
    assert "in obtain" in caplog.text
    assert "hunter2" not in caplog.text
    desk.source.fault = None
    desk.clock.advance(1)
    assert (await desk.hears(2)).result == "success"


async def test_a_bug_of_the_watch(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Another watch takes its place."""
    desk.start()
    await desk.hears(1)
    desk.store.watches[0].ended.set()
    await until(lambda: len(desk.store.watches) == 2)
    assert "bug: RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_conflict_is_looked_at_again(desk: Desk) -> None:
    """Soon, and it is no failure."""
    desk.api.conflict = True
    desk.start()
    await until(lambda: len(desk.api.written) == 1)
    desk.api.conflict = False
    desk.clock.advance(0.1)
    assert (await desk.hears(1)).result == "success"


async def test_a_rival_is_not_answered_without_end(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever takes it away again and again wins for the rest of a minute."""
    desk.start()
    for count in range(1, WRITES + 1):
        await desk.hears(count)
        desk.api.secret = None
        desk.ring()
    await settle()
    assert len(desk.api.written) == WRITES
    assert "is written too often" in caplog.text
    desk.clock.advance(WRITES_SECONDS)
    await desk.hears(WRITES + 1)


async def test_endless_conflicts_are_bounded_too(desk: Desk) -> None:
    """Each costs a certificate."""
    desk.api.conflict = True
    desk.start()
    for _ in range(10 * WRITES):
        desk.clock.advance(0.1)
        await settle()
    assert len(desk.api.written) == WRITES


async def test_certificates_that_are_due_at_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A backend that starts them so early that the grace ratio is met: written, loud, and not in a loop."""
    desk.source.lifetime, desk.source.begun = HOUR, 2 * HOUR
    desk.start()
    assert (await desk.hears(1)).result == "failure"
    assert "what was written will not do for long: it was due" in caplog.text
    assert desk.api.secret is not None
    await settle()
    assert desk.source.made == 1


async def test_no_roots_yet(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is judged against nothing."""
    desk.api.secret = Found().manifest()
    desk.bundle.now = desk.bundle.next = TrustBundle.of(())
    desk.start()
    await desk.hears(1)
    assert "no backend has told its roots yet" in caplog.text
    desk.bundle.next = BUNDLE
    desk.clock.advance(1)
    assert (await desk.hears(2)).result is None
    assert desk.api.written == []


async def test_nothing_is_told_out_of_office(desk: Desk) -> None:
    """Gauges of who leads no longer must not tell of a certificate that somebody else renews."""
    desk.start()
    await desk.hears(1)
    desk.office.leads = False
    assert await desk.hears(2) == News()
    desk.clock.advance(DAY)
    await settle()
    assert desk.source.made == 1


def test_gauges() -> None:
    """No sample while nothing is known: 0 would be a certificate that ended in 1970."""
    metrics = Metrics()
    name = 'istio_signer_istiod_certificate_expiry_timestamp_seconds{secret="a/b"}'
    assert name not in metrics.exposition("")[0].decode()
    show_istiod(metrics, "a/b", "success", NOW + DAY, NOW)
    text = metrics.exposition("")[0].decode()
    assert name in text
    assert 'istio_signer_istiod_certificate_renewals_total{result="success"} 1.0' in text
    show_istiod(metrics, "a/b", None, None, None)
    assert name not in metrics.exposition("")[0].decode()


WRITING: dict[str, tuple[Answer, type[Exception], str]] = {
    "conflict": (Answer(409, {}), Conflict, ""),
    "gone": (Answer(404, {}), Conflict, ""),
    "forbidden": (Answer(403, {"reason": "Forbidden", "message": "no"}), ApiUnavailable, "HTTP 403: Forbidden 'no'"),
    "a webhook that quotes": (Answer(400, {"reason": "Bad", "message": "x LS0tLS1CRUdJTiBQUk"}), ApiUnavailable, "Bad"),
    "a webhook that decodes": (Answer(400, {"reason": "Bad", "message": "-----BEGIN P"}), ApiUnavailable, "Bad"),
}


@pytest.mark.parametrize(("answer", "error", "said"), WRITING.values(), ids=WRITING.keys())
async def test_answers_to_writes(answer: Answer, error: type[Exception], said: str) -> None:
    """What is no success, and never a key."""
    store = Store(FakeApi(answer=answer))
    with pytest.raises(error) as refusal:
        await store.write(Found().manifest())
    assert str(refusal.value).endswith(said)


async def test_a_namespace_that_is_not_there() -> None:
    """404 to a create is no conflict: it would be tried without a pause."""
    store = Store(FakeApi(answer=Answer(404, {"reason": "NotFound", "message": "namespaces"})))
    manifest = Found().manifest()
    del manifest["metadata"]["resourceVersion"]
    with pytest.raises(ApiUnavailable, match="HTTP 404: NotFound 'namespaces'"):
        await store.write(manifest)


async def test_reading_is_refused() -> None:
    """Another answer than yes or none."""
    store = Store(FakeApi(fault=ApiUnavailable("x")))
    with pytest.raises(ApiUnavailable):
        await store.read()


def test_what_is_not_ours_stays() -> None:
    """Other keys, annotations, type, and the version that guards the write."""
    found = Found(ours=False).manifest(note="bWluZQ==")
    found["type"] = "Opaque"
    found["metadata"] |= {"annotations": {"a": "b"}, "managedFields": [{}], "uid": "u"}
    made = secret_manifest(found, "roots")
    assert made["type"] == "Opaque"
    assert made["metadata"] == {
        "name": PLACE.name,
        "namespace": PLACE.namespace,
        "labels": {"app": "x", "app.kubernetes.io/managed-by": "istio-signer"},
        "annotations": {"a": "b"},
        "resourceVersion": "7",
        "uid": "u",
    }
    assert made["data"] == {**found["data"], "ca.crt": "cm9vdHM="}
    assert made["data"][KEY] == found["data"][KEY]


@pytest.mark.parametrize(("key_type", "made"), [("P-256", "p256"), ("RSA-2048", "rsa2048")])
def test_plan(key_type: str, made: str) -> None:
    """What is asked for is what is wanted."""
    asked = plan(Wanted(WANTED.names, 0.3, key_type), HOUR)
    assert (asked.names, asked.ttl, asked.grace_ratio, asked.key_type) == (WANTED.names, HOUR, 0.3, made)
    assert asked.purpose == "istiod"


def test_no_plan() -> None:
    """A key type that no proxy takes."""
    with pytest.raises(ValueError, match="unknown key type 'Ed25519': use one of P-256, RSA-2048"):
        plan(Wanted(WANTED.names, 0.5, "Ed25519"), HOUR)
