"""The steps of a rotation, each from each phase: what is written down, what the CA is asked, and who is refused."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509

from signer.core.chain import fingerprint
from signer.core.rotation import Phase, Rotation, WrongPhase
from signer.core.rotator import RotationRefused
from signer.core.trust_record import KnownRoot, TrustRecord
from signer.trust.rotation.gates import OPEN, GateView
from signer.trust.rotation.steps import GateClosed, Status, Steps
from signer.trust.rotation.store import Change, StoreConflict
from tests.support.clock import HOUR, NOW, FakeClock
from tests.support.pki import make_ca

OLD, NEW, OTHER = (make_ca(f"{name} root").certificate for name in ("old", "new", "other"))
LATER = NOW + 9 * HOUR
CLOSED = GateView(False, "the moon", LATER)


def rotation(phase: Phase, since: datetime = NOW) -> Rotation:
    """One that has come to a phase."""
    return Rotation("r1", "local", phase, (OLD,), since, None if phase is Phase.PREPARING else NEW, "ns/secret")


class Scene:
    """The steps over a record in memory, a CA that notes what it is asked, and a gate; it is all three of them."""

    def __init__(self, before: Rotation | None = None) -> None:
        self.record = TrustRecord(rotation=before)
        self.view = OPEN
        self.asked: list[str] = []
        self.phases: list[Phase] = []
        self.conflicts = 0
        self.root = NEW
        self.fault: RotationRefused | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.at_once = False
        self.clock = FakeClock(LATER)
        self.steps = Steps(self, self, self, self.clock)

    @property
    def phase(self) -> Phase | None:
        """What is written down."""
        return self.record.rotation.phase if self.record.rotation is not None else None

    def others_write(self, other: Rotation | None) -> None:
        """Have somebody else write while this one is at work."""
        self.meanwhile = lambda: setattr(self, "record", replace(self.record, rotation=other))

    async def read(self) -> TrustRecord:
        """See ``Store``."""
        return self.record

    async def update(self, change: Change) -> None:
        """See ``Store``."""
        after = change(self.record)
        if self.conflicts:
            self.conflicts -= 1
            raise StoreConflict
        if after != self.record and after.rotation is not None:
            self.phases.append(after.rotation.phase)
        self.record = after

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """See ``Gate``."""
        self.asked.append("gate")
        assert (rotation, record, now) == (self.record.rotation, self.record, LATER)
        self.meanwhile()
        return self.view

    async def current(self) -> tuple[x509.Certificate, ...]:
        """See ``RootRotator``."""
        self.asked.append("current")
        if self.at_once:
            self.meanwhile()
        return (OLD,)

    async def prepare(self, rotation: Rotation) -> x509.Certificate:
        """See ``RootRotator``."""
        await self._hand("prepare", rotation)
        return self.root

    async def switch(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        await self._hand("switch", rotation)

    async def retire(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        await self._hand("retire", rotation)

    async def discard(self, rotation: Rotation) -> None:
        """See ``RootRotator``."""
        await self._hand("discard", rotation)

    async def close(self) -> None:
        """Nothing is open."""

    async def _hand(self, name: str, rotation: Rotation) -> None:
        assert rotation == self.record.rotation, "it is written down before the CA does it"
        self.asked.append(name)
        self.meanwhile()
        if self.fault is not None:
            raise self.fault


Step = Callable[[Steps], Coroutine[Any, Any, Rotation]]
STEPS: dict[str, Step] = {"start": lambda s: s.start("local"), "advance": Steps.advance, "abort": Steps.abort}
GONE_ON, NOTHING = "no rotation is under way; begin one with start", "no rotation is under way$"
BREAKS = "the new issuer may have signed, and to abort would break"

# Phase -> step -> what is asked and what it ends in, or why it is refused. Written out: a change must be seen.
Led = tuple[list[str], Phase]
LEADS: dict[Phase | None, dict[str, Led | str]] = {
    None: {"start": (["current", "prepare"], Phase.TRUSTING), "advance": GONE_ON, "abort": NOTHING},
    Phase.PREPARING: {
        "start": "rotation r1 of backend local is preparing: advance or abort it first",
        "advance": (["prepare"], Phase.TRUSTING),
        "abort": (["discard"], Phase.ABORTED),
    },
    Phase.TRUSTING: {
        "start": "rotation r1 of backend local is trusting: advance or abort it first",
        "advance": (["gate", "switch"], Phase.SIGNING),
        "abort": (["discard"], Phase.ABORTED),
    },
    Phase.SWITCHING: {
        "start": "rotation r1 of backend local is switching: advance or abort it first",
        "advance": (["switch"], Phase.SIGNING),
        "abort": f"rotation r1 is switching: {BREAKS}",
    },
    Phase.SIGNING: {
        "start": "rotation r1 of backend local is signing: advance or abort it first",
        "advance": (["gate", "retire"], Phase.DONE),
        "abort": f"rotation r1 is signing: {BREAKS}",
    },
    Phase.RETIRING: {
        "start": "rotation r1 of backend local is retiring: advance or abort it first",
        "advance": (["retire"], Phase.DONE),
        "abort": f"rotation r1 is retiring: {BREAKS}",
    },
    Phase.DONE: {"start": (["current", "prepare"], Phase.TRUSTING), "advance": GONE_ON, "abort": NOTHING},
    Phase.ABORTING: {
        "start": "rotation r1 of backend local is aborting: advance or abort it first",
        "advance": (["discard"], Phase.ABORTED),
        "abort": (["discard"], Phase.ABORTED),
    },
    Phase.ABORTED: {"start": (["current", "prepare"], Phase.TRUSTING), "advance": GONE_ON, "abort": NOTHING},
}
WAITING = [Phase.TRUSTING, Phase.SIGNING]
# An intent's own step, and the phase that it is an intent of.
INTENTS = {
    "start": (None, Phase.PREPARING, "prepare", Phase.TRUSTING),
    "advance": (Phase.TRUSTING, Phase.SWITCHING, "switch", Phase.SIGNING),
    "advance to the end": (Phase.SIGNING, Phase.RETIRING, "retire", Phase.DONE),
    "abort": (Phase.TRUSTING, Phase.ABORTING, "discard", Phase.ABORTED),
}


def at(phase: Phase | None) -> Scene:
    """A scene in a phase; None where nobody ever began one."""
    return Scene(rotation(phase) if phase is not None else None)


def _name(phase: Phase | None) -> str:
    return phase.value if phase is not None else "none"


def test_the_table_is_whole() -> None:
    """A new phase needs its row."""
    assert set(LEADS) == {None, *Phase}
    assert all(set(row) == set(STEPS) for row in LEADS.values())


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("phase", LEADS, ids=_name)
async def test_every_step_in_every_phase(phase: Phase | None, step: str) -> None:
    """It asks what the table says, and gives what is written down; or it is refused and nothing has changed."""
    scene, leads = at(phase), LEADS[phase][step]
    before = scene.record
    if isinstance(leads, str):
        with pytest.raises(WrongPhase, match=leads):
            await STEPS[step](scene.steps)
        assert (scene.asked, scene.record) == ([], before)
        return
    reached = await STEPS[step](scene.steps)
    assert (scene.asked, scene.phase) == leads
    assert (reached, reached.since) == (scene.record.rotation, LATER)


@pytest.mark.parametrize(("first", "intent", "hand", "last"), INTENTS.values(), ids=INTENTS)
async def test_what_is_written_down(first: Phase | None, intent: Phase, hand: str, last: Phase) -> None:
    """The intent before, the result after."""
    scene = at(first)
    step = "start" if first is None else "abort" if hand == "discard" else "advance"
    await STEPS[step](scene.steps)
    assert scene.phases == [intent, last]


async def test_a_start() -> None:
    """It names the rotation by its time; what the operator named, and the roots that go, are kept for later steps."""
    scene = at(None)
    begun = await scene.steps.start("vault", "issuer-2")
    assert begun == Rotation(begun.id, "vault", Phase.TRUSTING, (OLD,), LATER, NEW, "issuer-2")
    assert begun.id.startswith("20250601-")
    assert scene.record.roots == {fingerprint(NEW): KnownRoot(NEW, LATER + HOUR)}, "the leader looks after these"
    scene.record = TrustRecord()
    assert (await scene.steps.start("vault")).id != begun.id


async def test_the_root_that_went_is_forgotten() -> None:
    """With the last step, in the same write."""
    scene = at(Phase.SIGNING)
    scene.record = scene.record.vouched([KnownRoot(OLD, LATER + HOUR), KnownRoot(NEW, LATER + HOUR)])
    await scene.steps.advance()
    assert set(scene.record.roots) == {fingerprint(NEW)}
    scene = at(Phase.TRUSTING)
    scene.record = scene.record.vouched([KnownRoot(OLD, LATER + HOUR), KnownRoot(NEW, LATER + HOUR)])
    await scene.steps.abort()
    assert set(scene.record.roots) == {fingerprint(OLD)}


@pytest.mark.parametrize("phase", LEADS, ids=_name)
async def test_status(phase: Phase | None) -> None:
    """The gate speaks where something is waited for; nothing is changed."""
    scene = at(phase)
    scene.view, before = CLOSED, scene.record
    waits = CLOSED if phase in WAITING else None
    assert await scene.steps.status() == Status(before.rotation, waits)
    assert (scene.asked, scene.record) == (["gate"] if waits else [], before)


@pytest.mark.parametrize("phase", WAITING, ids=_name)
async def test_too_early(phase: Phase) -> None:
    """What is waited for is said, and nothing has changed."""
    scene = at(phase)
    scene.view, before = CLOSED, scene.record
    with pytest.raises(GateClosed, match=r"^the moon$") as closed:
        await scene.steps.advance()
    assert closed.value.view == CLOSED
    assert (scene.asked, scene.record) == (["gate"], before)


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.TRUSTING, Phase.ABORTING], ids=_name)
async def test_a_closed_gate_stops_no_abort(phase: Phase) -> None:
    """Nor what an intent must do again."""
    scene = at(phase)
    scene.view = CLOSED
    assert (await scene.steps.abort()).phase is Phase.ABORTED


# Who has moved it meanwhile: to another phase, to another rotation, or away with it.
MEANWHILE: dict[str, Callable[[Phase], Rotation | None]] = {
    "another phase": lambda phase: rotation(Phase.DONE if phase is not Phase.DONE else Phase.ABORTED),
    "another rotation": lambda phase: replace(rotation(phase), id="r2"),
    "gone": lambda _: None,
}


@pytest.mark.parametrize("other", MEANWHILE)
@pytest.mark.parametrize(
    "phase", [p for p, row in LEADS.items() if p and not isinstance(row["advance"], str)], ids=_name
)
async def test_somebody_else_was_faster(phase: Phase, other: str) -> None:
    """While the gate was asked, or while the CA was at work: what is there stays."""
    scene = at(phase)
    there = MEANWHILE[other](phase)
    scene.others_write(there)
    with pytest.raises(WrongPhase, match="somebody else has moved the rotation meanwhile; look at its status"):
        await scene.steps.advance()
    assert scene.record.rotation == there
    assert len(scene.asked) == 1, "after the gate the CA is not asked"


async def test_somebody_else_starts_first() -> None:
    """While the CA is asked for its roots: theirs stays, and the CA makes nothing."""
    scene = at(None)
    scene.others_write(rotation(Phase.PREPARING))
    scene.at_once = True
    with pytest.raises(WrongPhase, match="rotation r1 of backend local is preparing: advance or abort it first"):
        await scene.steps.start("local")
    assert (scene.record.rotation, scene.asked) == (rotation(Phase.PREPARING), ["current"])


async def test_two_who_start() -> None:
    """Both have made a CA; the record has the second one's, and the first must not say that its root counts."""
    scene = at(None)
    scene.others_write(replace(rotation(Phase.TRUSTING), id="r2", new=OTHER))
    with pytest.raises(WrongPhase, match="somebody else"):
        await scene.steps.start("local")
    assert scene.record.roots == {}


async def test_somebody_else_did_the_same() -> None:
    """To the letter: there is nothing left to write, and nobody to blame."""
    scene = at(Phase.SWITCHING)
    scene.others_write(rotation(Phase.SIGNING, LATER))
    assert (await scene.steps.advance()).phase is Phase.SIGNING


@pytest.mark.parametrize("conflicts", [1, 7])
@pytest.mark.parametrize("phase", [None, Phase.TRUSTING, Phase.RETIRING], ids=_name)
async def test_others_write_at_the_same_moment(phase: Phase | None, conflicts: int) -> None:
    """It is tried again; what is written is made from what is there by then."""
    scene = at(phase)
    scene.conflicts = conflicts
    step = "start" if phase is None else "advance"
    await STEPS[step](scene.steps)
    assert (scene.asked, scene.phase, scene.conflicts) == (*LEADS[phase][step], 0)


async def test_others_write_all_the_time() -> None:
    """Eight tries, and then it is said; the CA was not asked."""
    scene = at(Phase.TRUSTING)
    scene.conflicts, before = 100, scene.record
    with pytest.raises(StoreConflict):
        await scene.steps.advance()
    assert (scene.conflicts, scene.asked, scene.record) == (92, ["gate"], before)


@pytest.mark.parametrize(("first", "intent", "hand", "last"), INTENTS.values(), ids=INTENTS)
async def test_a_ca_that_refuses(first: Phase | None, intent: Phase, hand: str, last: Phase) -> None:
    """The intent stays, however often it refuses; advance does it again without asking whether it is time."""
    scene = at(first)
    scene.fault = RotationRefused("sealed")
    step = "start" if first is None else "abort" if hand == "discard" else "advance"
    with pytest.raises(RotationRefused, match="sealed"):
        await STEPS[step](scene.steps)
    assert scene.phase is intent
    scene.view, scene.asked = CLOSED, []
    with pytest.raises(RotationRefused, match="sealed"):
        await scene.steps.advance()
    assert scene.phase is intent
    scene.fault = None
    assert (await scene.steps.advance()).phase is last
    assert scene.asked == [hand, hand]


async def test_a_new_issuer_under_the_old_root() -> None:
    """Nobody is told to trust it; advance cannot go on, abort can, and the old root is not forgotten."""
    scene = at(None)
    scene.root = OLD
    for step in ("start", "advance"):
        with pytest.raises(RotationRefused, match="under the old root: there is nothing to rotate; abort"):
            await STEPS[step](scene.steps)
        assert (scene.phase, scene.record.roots) == (Phase.PREPARING, {})
    await scene.steps.abort()
    assert (scene.phase, scene.record.forgotten) == (Phase.ABORTED, frozenset())
