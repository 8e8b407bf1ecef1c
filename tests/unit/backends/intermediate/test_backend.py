"""A CA of one's own: minted, rotated, overlapping, outliving an upstream that is down."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509

from backends.intermediate.backend import IntermediateBackend
from backends.intermediate.minting import CaOrder, IntermediateSettings, MintedCa
from signer.core import keys
from signer.core.chain import TrustBundle
from signer.core.errors import BackendUnavailable
from signer.core.events import BackendEvent, BackendMoment
from signer.core.spec import BackendContext
from signer.core.validity import Validity
from signer.core.verify import ChainVerifier
from tests.corpus.answers import asked, root
from tests.support.clock import HOUR, FakeClock
from tests.support.pki import CA_EXTENSIONS, Ca, changed, key, make_ca, make_leaf, usage

DELAY = timedelta(minutes=10)
CA_ONLY = changed(CA_EXTENSIONS, (x509.BasicConstraints(ca=True, path_length=0), True))


@dataclass
class Upstream:
    """A minter under a test's control; ``bend`` changes what it returns."""

    clock: FakeClock
    ca: Ca = field(default_factory=root)
    fault: Exception | None = None
    orders: list[CaOrder] = field(default_factory=list)
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = CA_ONLY
    bend: Callable[[MintedCa], MintedCa] = lambda minted: minted
    public: bytes | None = None
    lifetime: timedelta | None = None

    async def mint(self, order: CaOrder) -> MintedCa:
        """Sign, or fail as told."""
        self.orders.append(order)
        if self.fault:
            raise self.fault
        now = self.clock.now()
        window = (now - timedelta(seconds=60), now + (self.lifetime or order.ttl))
        public = self.public or keys.spki(order.csr.public_key())
        certificate = make_leaf(self.ca, public, self.extensions, subject=order.common_name, window=window)
        return self.bend(MintedCa(certificate, (), (self.ca.certificate,)))

    async def start(self) -> None:
        """Nothing to do."""

    async def run(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to release."""


class Counting:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.events: list[BackendEvent] = []
        self.moments: dict[BackendMoment, datetime] = {}

    def count(self, event: BackendEvent) -> None:
        """Remember it."""
        self.events.append(event)

    def mark(self, moment: BackendMoment, at: datetime) -> None:
        """Remember it."""
        self.moments[moment] = at


@dataclass
class Scene:
    """A backend, its upstream and its clock."""

    clock: FakeClock
    upstream: Upstream
    meter: Counting
    backend: IntermediateBackend

    async def tick(self, passed: timedelta = timedelta(0)) -> None:
        """Let time pass, then do what the rotation does at each wake-up."""
        self.clock.advance(passed)
        await self.backend.rotate()

    async def proven(self, roots: TrustBundle | None = None) -> x509.Certificate:
        """Sign, and verify against the backend's own roots or those given."""
        now = self.clock.now()
        request = replace(asked(), validity=Validity(now - timedelta(seconds=60), now + HOUR, 3600))
        issued, info = await self.backend.sign(request), await self.backend.issuer()
        bundle = roots or TrustBundle.of(info.roots)
        return ChainVerifier().verify(issued, request, bundle, now).leaf

    async def signer(self) -> int:
        """The serial of the certificate that signs."""
        return (await self.backend.issuer()).chain[0].serial_number


@pytest.fixture
async def scene() -> Scene:
    """One with a 24 h intermediate, fresh."""
    clock, meter = FakeClock(), Counting()
    upstream = Upstream(clock)
    settings = IntermediateSettings(ttl=timedelta(hours=24), new_root_delay=DELAY)
    context = BackendContext("upstream", clock, grace_ratio=0.5, meter=meter)
    backend = IntermediateBackend(upstream, settings, context)
    await backend.start()
    return Scene(clock, upstream, meter, backend)


async def test_it_signs_what_verifies(scene: Scene) -> None:
    await scene.proven()
    assert scene.meter.events == [BackendEvent.INTERMEDIATE_ROTATED]


async def test_the_order_asks_for_a_ca_of_leaves(scene: Scene) -> None:
    (order,) = scene.upstream.orders
    constraints = order.csr.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, 0, True)
    assert order.csr.is_signature_valid


async def test_each_order_has_a_key_of_its_own(scene: Scene) -> None:
    await scene.tick(timedelta(hours=12))
    first, second = scene.upstream.orders
    assert keys.spki(first.csr.public_key()) != keys.spki(second.csr.public_key())


async def test_it_is_renewed_by_the_grace_ratio_and_not_before(scene: Scene) -> None:
    before = await scene.signer()
    await scene.tick(timedelta(hours=11, minutes=40))
    assert await scene.signer() == before
    await scene.tick(timedelta(minutes=21))
    assert await scene.signer() != before
    assert len(scene.upstream.orders) == 2
    assert scene.meter.moments[BackendMoment.INTERMEDIATE_END] == scene.clock.now() + timedelta(hours=24)


async def test_no_leaf_outlives_it(scene: Scene) -> None:
    end = (await scene.backend.issuer()).window
    assert end is not None
    late = replace(asked(), validity=replace(asked().validity, not_after=end[1] + HOUR))
    assert (await scene.backend.sign(late)).leaf.not_valid_after_utc == end[1]


async def test_while_the_upstream_is_down_the_old_one_signs_to_its_end(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    before = await scene.signer()
    scene.upstream.fault = BackendUnavailable("the upstream is sealed")
    await scene.tick(timedelta(hours=13))
    assert (await scene.signer(), caplog.records[-1].levelno) == (before, logging.WARNING)
    with pytest.raises(BackendUnavailable, match="cannot be renewed: the upstream is sealed"):
        await scene.backend.probe()
    await scene.tick(timedelta(hours=7))
    assert caplog.records[-1].levelno == logging.ERROR
    assert "signs until 2025-06-02T12:00:00+00:00, then nothing" in caplog.text
    await scene.proven()
    await scene.tick(timedelta(hours=4))
    with pytest.raises(BackendUnavailable, match=r"the CA ended at .*: the upstream is sealed"):
        await scene.backend.sign(asked())


async def test_it_heals_when_the_upstream_does(scene: Scene) -> None:
    scene.upstream.fault = BackendUnavailable("down")
    await scene.tick(timedelta(hours=25))
    scene.upstream.fault = None
    await scene.tick(timedelta(minutes=2))
    await scene.proven()
    await scene.backend.probe()


async def test_a_failing_upstream_is_not_asked_in_a_loop(scene: Scene) -> None:
    scene.upstream.fault = BackendUnavailable("down")
    await scene.tick(timedelta(hours=12))
    for _ in range(50):
        await scene.tick()
    assert len(scene.upstream.orders) == 2
    assert scene.meter.events.count(BackendEvent.INTERMEDIATE_FAILED) == 1


async def test_an_upstream_in_its_last_minutes_is_not_asked_in_a_loop(scene: Scene) -> None:
    scene.upstream.lifetime = timedelta(seconds=40)
    await scene.tick(timedelta(hours=12))
    for _ in range(50):
        await scene.tick()
    assert len(scene.upstream.orders) == 2


async def test_a_new_root_is_in_the_answers_before_it_signs(scene: Scene) -> None:
    before, old = await scene.signer(), TrustBundle.of((await scene.backend.issuer()).roots)
    scene.upstream.ca = make_ca("other root")
    told: list[str] = []
    scene.backend.on_change(lambda: told.append("changed"))
    await scene.tick(timedelta(hours=12))
    both = TrustBundle.of((await scene.backend.issuer()).roots)
    assert (await scene.signer(), len(both.roots), both.covers(old), told) == (before, 2, True, ["changed"])
    await scene.tick(DELAY - timedelta(seconds=1))
    assert await scene.signer() == before
    await scene.tick(timedelta(seconds=1))
    assert await scene.signer() != before
    await scene.proven(both)


async def test_a_second_one_under_a_new_root_waits_as_long_as_the_first(scene: Scene) -> None:
    """That root has been in the answers for half of the time only."""
    before = await scene.signer()
    scene.upstream.ca = make_ca("other root")
    await scene.tick(timedelta(hours=12))
    await scene.tick(DELAY / 2)
    scene.backend.renew_early()
    await scene.tick()
    assert len(scene.upstream.orders) == 3
    await scene.tick(DELAY / 2 - timedelta(seconds=1))
    assert await scene.signer() == before
    await scene.tick(timedelta(seconds=1))
    assert await scene.signer() != before


async def test_another_new_root_while_one_waits_has_its_own_time(scene: Scene) -> None:
    before = await scene.signer()
    for name in ("other root", "third root"):
        scene.upstream.ca = make_ca(name)
        scene.backend.renew_early()
        await scene.tick(DELAY - timedelta(seconds=1))
    await scene.tick(timedelta(seconds=1))
    assert await scene.signer() == before
    await scene.tick(DELAY)
    assert await scene.signer() != before


async def test_back_under_the_old_root_nobody_waits(scene: Scene) -> None:
    before, old = await scene.signer(), scene.upstream.ca
    for ca in (make_ca("other root"), old):
        scene.upstream.ca = ca
        scene.backend.renew_early()
        await scene.tick(timedelta(minutes=1))
    assert await scene.signer() != before
    await scene.proven(TrustBundle.of([old.certificate]))


async def test_a_replaced_ones_root_stays_until_its_last_leaf_has_ended(scene: Scene) -> None:
    old = (await scene.backend.issuer()).roots
    scene.upstream.ca = make_ca("other root")
    await scene.tick(timedelta(hours=12))
    await scene.tick(timedelta(hours=11, minutes=59))
    assert set(old) <= set((await scene.backend.issuer()).roots)
    await scene.tick(timedelta(minutes=2))
    assert not set(old) & set((await scene.backend.issuer()).roots)


async def test_a_new_root_signs_at_once_where_nothing_else_can(scene: Scene) -> None:
    scene.upstream.ca = make_ca("other root")
    await scene.tick(timedelta(hours=25))
    await scene.proven()


def _path_length(length: int | None) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return changed(CA_EXTENSIONS, (x509.BasicConstraints(ca=True, path_length=length), True))


BENT: dict[str, tuple[Callable[[Upstream], None], str]] = {
    "another key": (lambda u: setattr(u, "public", keys.spki(key("p256/other").public_key())), "another key"),
    "no CA": (lambda u: setattr(u, "extensions", changed(CA_ONLY, without=(x509.BasicConstraints,))), "not a CA"),
    "path length 1": (lambda u: setattr(u, "extensions", _path_length(1)), "path length is 1"),
    "cannot sign": (
        lambda u: setattr(u, "extensions", changed(CA_ONLY, (usage("digital_signature"), True))),
        "lacks keyCertSign",
    ),
    "no root": (lambda u: setattr(u, "bend", lambda m: replace(m, roots=())), "gave no root"),
    "another root": (
        lambda u: setattr(u, "bend", lambda m: replace(m, roots=(make_ca("stranger").certificate,))),
        "do not lead",
    ),
    "ended": (lambda u: setattr(u, "lifetime", timedelta(seconds=5)), "not now"),
}


@pytest.mark.parametrize("kind", BENT)
async def test_what_cannot_sign_leaves_never_gets_into_use(scene: Scene, kind: str) -> None:
    before = await scene.signer()
    bend, fault = BENT[kind]
    bend(scene.upstream)
    await scene.tick(timedelta(hours=12))
    assert (await scene.signer(), len(scene.upstream.orders)) == (before, 2)
    with pytest.raises(BackendUnavailable, match=fault):
        await scene.backend.probe()


async def test_a_missing_path_length_is_said(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.upstream.extensions = _path_length(None)
    await scene.tick(timedelta(hours=12))
    assert "left out the path length" in caplog.text


async def test_a_bug_of_the_upstream_leaves_the_old_one_and_quotes_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.upstream.fault = RuntimeError("secret-token")
    await scene.tick(timedelta(hours=12))
    await scene.proven()
    assert "bug: RuntimeError" in caplog.text
    assert "secret-token" not in caplog.text


async def test_an_order_that_cannot_be_made_leaves_the_old_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong there, the rotation goes on: it is the process's own work."""

    def broken(_: IntermediateSettings) -> None:
        raise ValueError("no name")

    monkeypatch.setattr("backends.intermediate.backend.new_order", broken)
    await scene.tick(timedelta(hours=12))
    await scene.proven()
    with pytest.raises(BackendUnavailable, match="bug: ValueError"):
        await scene.backend.probe()


async def test_closed_it_signs_no_more(scene: Scene) -> None:
    await scene.backend.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await scene.backend.sign(asked())


async def test_a_root_that_left_the_upstream_goes_though_older_cas_live(scene: Scene) -> None:
    """Its file named two roots for a while; what was minted then leads to one of them, and needs no other."""
    gone = make_ca("gone").certificate
    scene.upstream.bend = lambda minted: replace(minted, roots=(*minted.roots, gone))
    await scene.tick(13 * HOUR)
    await scene.tick(DELAY)
    assert gone in (await scene.backend.issuer()).roots
    scene.upstream.bend = lambda minted: minted
    await scene.tick(13 * HOUR)
    assert gone not in (await scene.backend.issuer()).roots
    await scene.proven()
