"""A rotation as a value: every step in every phase, and whom everybody trusts meanwhile."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509

from signer.core.chain import fingerprint
from signer.core.rotation import ABORTABLE, INTENTS, OVER, RESULTS, Phase, Rotation, WrongPhase
from tests.support.clock import HOUR, NOW
from tests.support.pki import make_ca

A, B, NEW = (make_ca(f"root {letter}").certificate for letter in "abn")
LATER = NOW + HOUR


def rotation(phase: Phase) -> Rotation:
    """One that has come to a phase."""
    return Rotation("r1", "vault", phase, (A, B), NOW, None if phase is Phase.PREPARING else NEW)


STEPS: dict[str, Callable[[Rotation], Rotation]] = {
    "intend": lambda r: r.intend(LATER),
    "give_up": lambda r: r.give_up(LATER),
    "done": lambda r: r.done(LATER, NEW),
}
# Every phase, and where each step leads; what is not here is refused. Written out: a change must be seen.
LEADS: dict[Phase, dict[str, Phase]] = {
    Phase.PREPARING: {"done": Phase.TRUSTING, "give_up": Phase.ABORTING},
    Phase.TRUSTING: {"intend": Phase.SWITCHING, "give_up": Phase.ABORTING},
    Phase.SWITCHING: {"done": Phase.SIGNING},
    Phase.SIGNING: {"intend": Phase.RETIRING},
    Phase.RETIRING: {"done": Phase.DONE},
    Phase.DONE: {},
    Phase.ABORTING: {"done": Phase.ABORTED, "give_up": Phase.ABORTING},
    Phase.ABORTED: {},
}
OLD, BOTH = {A, B}, {A, B, NEW}
TRUSTED: dict[Phase, set[x509.Certificate]] = {
    Phase.PREPARING: OLD,
    Phase.TRUSTING: BOTH,
    Phase.SWITCHING: BOTH,
    Phase.SIGNING: BOTH,
    Phase.RETIRING: BOTH,
    Phase.DONE: set(),
    Phase.ABORTING: OLD,
    Phase.ABORTED: set(),
}
FORGOTTEN = {Phase.DONE: OLD, Phase.ABORTED: {NEW}}


def test_tables_are_whole() -> None:
    """A new phase needs its row."""
    assert set(LEADS) == set(TRUSTED) == set(Phase)
    assert set(INTENTS) | set(RESULTS) | OVER == set(Phase)
    assert {phase for phase, leads in LEADS.items() if "give_up" in leads} == ABORTABLE


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)
def test_every_step_in_every_phase(phase: Phase, step: str) -> None:
    """It leads where the table says, at the time given, or is refused with the phase's name."""
    before = rotation(phase)
    after = LEADS[phase].get(step)
    if after is None:
        with pytest.raises(WrongPhase, match=f"^rotation r1 is {phase.value}[;:,]"):
            STEPS[step](before)
    elif after is phase:
        assert STEPS[step](before) is before, "given up once is given up; the time stays"
    else:
        reached = STEPS[step](before)
        new = NEW if step == "done" else before.new
        assert reached == replace(before, phase=after, since=LATER, new=new)


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)
def test_whom_everybody_trusts(phase: Phase) -> None:
    """Old roots until it is over, the new one from trusting on; nobody is trusted and forgotten."""
    one = rotation(phase)
    assert set(one.trusted) == TRUSTED[phase]
    assert one.forgotten == set(map(fingerprint, FORGOTTEN.get(phase, set())))
    assert one.forgotten.isdisjoint(map(fingerprint, one.trusted))


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)
def test_looks(phase: Phase) -> None:
    """Over where no step is left; an intent where the CA may have done something."""
    one = rotation(phase)
    assert one.over == (not LEADS[phase])
    assert one.is_intent == ("done" in LEADS[phase])


def test_an_abort_before_the_ca_made_anything() -> None:
    """There is nobody to forget."""
    one = rotation(Phase.PREPARING).give_up(LATER).done(LATER)
    assert (one.phase, one.new, one.trusted, one.forgotten) == (Phase.ABORTED, None, (), frozenset())


def test_the_new_root_is_kept_through_steps_that_bring_none() -> None:
    """Only the first step brings it."""
    one = rotation(Phase.PREPARING).done(LATER, NEW).intend(LATER).done(LATER).intend(LATER).done(LATER)
    assert (one.phase, one.new) == (Phase.DONE, NEW)


def test_nothing_to_trust() -> None:
    """Everybody waits for the new root, so there must be one; one that is known from before will do."""
    prepared = rotation(Phase.PREPARING)
    with pytest.raises(ValueError, match="rotation r1: the CA has made no new root"):
        prepared.done(LATER)
    assert replace(prepared, new=NEW).done(LATER).new is NEW


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.ABORTED])
def test_a_ca_that_made_nothing_new(phase: Phase) -> None:
    """It gave one of the old roots for a new one: that one is not taken away."""
    one = replace(rotation(phase), new=A)
    assert fingerprint(A) not in one.forgotten
