"""The live bundle's memory: what outlives its showing, what others remember, and who is told."""

from datetime import timedelta

import pytest

from signer.core.chain import TrustBundle, fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import STEP, KnownRoot, TrustRecord
from signer.observe.health import Health
from signer.trust.bundle import PART, LiveBundle
from signer.trust.compose import TrustPolicy
from tests.support.clock import DAY, HOUR, NOW, SECOND, FakeClock
from tests.support.fakes import FakeBackend
from tests.support.pki import Ca, make_ca

A, B, C = (make_ca(f"root {letter}") for letter in "abc")
MINUTE = 60 * SECOND


def _bundle(*roots: Ca) -> TrustBundle:
    return TrustBundle.of(ca.certificate for ca in roots)


class Scene:
    """A bundle over one backend, with a clock to turn."""

    def __init__(self, policy: TrustPolicy | None = None, *, configured: bool = False) -> None:
        self.backend, self.clock = FakeBackend("a", A), FakeClock()
        self.backend.configured = configured
        self.health = Health((PART,))
        self.live = LiveBundle([self.backend], self.health, self.clock, policy or TrustPolicy(retention=HOUR))
        self.told = 0
        self.live.on_change(self._tell)

    def _tell(self) -> None:
        self.told += 1

    async def shows(self, *roots: Ca) -> TrustBundle:
        """Have the backend show these, and look."""
        self.backend.roots = roots
        return await self.live.refresh()

    async def looks_for(self, span: timedelta, every: timedelta = MINUTE / 6) -> None:
        """Let time pass, and look as often as a server does."""
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.clock.advance(every)
            await self.live.refresh()


def record(*roots: Ca, until: timedelta = HOUR, rotation: Rotation | None = None) -> TrustRecord:
    """What another replica remembers."""
    return TrustRecord({fingerprint(ca.certificate): KnownRoot(ca.certificate, NOW + until) for ca in roots}, rotation)


@pytest.mark.parametrize("retention", [HOUR, 30 * SECOND], ids=str)
async def test_a_shown_root_outlives_its_last_leaf(retention: timedelta) -> None:
    """A full retention after it was shown last, not after it was noted last; and not for ever."""
    scene = Scene(TrustPolicy(retention))
    await scene.shows(A)
    await scene.looks_for(55 * SECOND)
    assert await scene.shows(B) == _bundle(A, B)
    scene.clock.advance(retention - SECOND)
    assert await scene.live.refresh() == _bundle(A, B)
    scene.clock.advance(STEP + SECOND)
    assert await scene.live.refresh() == _bundle(B)


async def test_a_root_of_a_file_goes_at_once() -> None:
    """An operator took it out."""
    scene = Scene(configured=True)
    await scene.shows(A, B)
    assert scene.live.record.roots == {}
    assert await scene.shows(B) == _bundle(B)


async def test_a_root_of_a_file_stays_for_other_replicas() -> None:
    """They read it a little later, and may sign under it meanwhile."""
    scene = Scene(TrustPolicy(HOUR, grace=3 * MINUTE), configured=True)
    await scene.shows(A)
    assert await scene.shows(B) == _bundle(A, B)
    scene.clock.advance(3 * MINUTE - SECOND)
    assert await scene.live.refresh() == _bundle(A, B)
    scene.clock.advance(STEP + SECOND)
    assert await scene.live.refresh() == _bundle(B)


async def test_what_a_backend_still_shows_does_not_age() -> None:
    """Nor what one shows that cannot be asked."""
    scene = Scene()
    await scene.shows(A)
    scene.backend.describing.fault = TimeoutError()
    scene.clock.advance(9 * DAY)
    assert await scene.live.refresh() == _bundle(A)


async def test_notes_are_rare() -> None:
    """Each is a write for all replicas: one a minute, though there is a look each ten seconds."""
    scene = Scene()
    await scene.shows(A)
    scene.told = 0
    await scene.looks_for(10 * MINUTE)
    assert scene.told == 10


async def test_others_memory() -> None:
    """At once, without a look; but a memory is no backend, and nobody can sign with it."""
    scene = Scene()
    scene.live.remember(record(B))
    assert scene.live.current() == _bundle(B)
    assert scene.live.record == record(B)
    assert scene.backend.describing.calls == 0
    assert scene.health.pending == [PART]
    await scene.shows(A)
    assert (scene.live.current(), scene.health.pending) == (_bundle(A, B), [])
    scene.clock.advance(HOUR)
    assert await scene.live.refresh() == _bundle(A)


async def test_a_rotation_that_others_began() -> None:
    """Its new root is trusted before any backend shows it; the old one goes with the backend that shows it."""
    scene = Scene()
    await scene.shows(A)
    trusting = Rotation("r", "a", Phase.TRUSTING, (A.certificate,), NOW, B.certificate)
    scene.live.remember(record(rotation=trusting))
    assert scene.live.current() == _bundle(A, B)
    done = Rotation("r", "a", Phase.DONE, (A.certificate,), NOW, B.certificate)
    await scene.shows(B)
    scene.live.remember(record(rotation=done))
    assert scene.live.current() == _bundle(B)
    assert fingerprint(A.certificate) not in scene.live.record.roots


async def test_who_is_told() -> None:
    """Once for each change of the bundle, of the memory, or of who vouches; and nobody where nothing has changed."""
    scene = Scene(configured=True)
    await scene.shows(A)
    assert scene.told == 1
    await scene.shows(A)
    assert scene.told == 1
    await scene.shows(A, B)
    assert scene.told == 2
    scene.live.remember(record(C))
    scene.live.remember(record(C))
    scene.live.remember(TrustRecord())
    assert scene.told == 3
    scene.live.remember(record(A, B, C))
    assert scene.told == 4, "the bundle is the same, what is remembered is not"
    await scene.shows(A)
    assert scene.told == 5, "the bundle is the same, who vouches is not"


async def test_a_dead_memory_changes_nothing() -> None:
    """However often it is read; or whoever is told and reads it would go round for ever."""
    scene = Scene()
    await scene.shows(A)
    told = scene.told
    scene.live.on_change(lambda: scene.live.remember(record(B, until=-HOUR)))
    for _ in range(3):
        scene.live.remember(record(B, until=-HOUR))
    assert (scene.told, scene.live.current()) == (told, _bundle(A))
    scene.live.remember(record(C))
    assert (scene.told, scene.live.current()) == (told + 1, _bundle(A, C))
