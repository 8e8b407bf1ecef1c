"""The breaker: what opens it, what a trial decides, and that no call can leave it stuck."""

import pytest

from signer.core.errors import BackendUnavailable
from signer.issue.breaker import Breaker, State
from tests.support.clock import DAY, NOW, FakeClock


def _breaker(clock: FakeClock, chance: float = 0.0) -> Breaker:
    return Breaker("vault", 3, 10.0, clock, lambda: chance)


def _open(clock: FakeClock, chance: float = 0.0) -> Breaker:
    breaker = _breaker(clock, chance)
    for _ in range(3):
        breaker.failed(breaker.admit(), "sealed")
    assert breaker.view().state is State.OPEN
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """One answer between them, and the count starts anew."""
    breaker = _breaker(FakeClock())
    for _ in range(2):
        breaker.failed(breaker.admit(), "down")
    breaker.answered(breaker.admit())
    for _ in range(2):
        breaker.failed(breaker.admit(), "down")
    assert breaker.view().state is State.CLOSED
    breaker.failed(breaker.admit(), "down")
    assert breaker.view().state is State.OPEN


def test_open_refuses_and_says_why() -> None:
    """Nothing passes until its time is over."""
    clock = FakeClock()
    breaker = _open(clock)
    clock.advance(9.9)
    with pytest.raises(BackendUnavailable, match="breaker of backend vault is open: sealed"):
        breaker.admit()
    assert breaker.refuses


def test_jitter_only_lengthens() -> None:
    """By a fifth at most."""
    clock = FakeClock()
    breaker = _open(clock, chance=1.0)
    clock.advance(11.9)
    assert breaker.refuses
    clock.advance(0.2)
    assert not breaker.refuses


def test_one_trial_at_a_time() -> None:
    """Then an answer closes it."""
    clock = FakeClock()
    breaker = _open(clock)
    clock.advance(10.0)
    assert breaker.view().state is State.HALF_OPEN
    trial = breaker.admit()
    with pytest.raises(BackendUnavailable):
        breaker.admit()
    breaker.answered(trial)
    assert (breaker.view().state, breaker.view().reason) == (State.CLOSED, "")
    breaker.admit()


def test_a_failed_trial_opens_it_again() -> None:
    """At once, for its whole time; for people it is one outage."""
    clock = FakeClock()
    breaker = _open(clock)
    clock.advance(10.0)
    breaker.failed(breaker.admit(), "still sealed")
    assert breaker.refuses
    clock.advance(9.0)
    view = breaker.view()
    assert (view.state, view.seconds, view.reason) == (State.OPEN, 19.0, "still sealed")


def test_an_abandoned_trial_makes_room_for_the_next() -> None:
    """A caller that goes away must not leave it half-open for ever."""
    clock = FakeClock()
    breaker = _open(clock)
    clock.advance(10.0)
    breaker.abandoned(breaker.admit())
    breaker.answered(breaker.admit())
    assert breaker.view().state is State.CLOSED


def test_tickets_of_an_earlier_state_are_void() -> None:
    """A slow call that ends late neither closes what has opened nor opens what has closed."""
    clock = FakeClock()
    breaker = _breaker(clock)
    slow = [breaker.admit() for _ in range(6)]
    for ticket in slow[:3]:
        breaker.failed(ticket, "down")
    breaker.answered(slow[3])
    assert breaker.view().state is State.OPEN
    clock.advance(10.0)
    breaker.answered(breaker.admit())
    breaker.failed(slow[4], "late")
    breaker.abandoned(slow[5])
    assert (breaker.view().state, breaker.view().failures) == (State.CLOSED, 0)


def test_a_void_ticket_does_not_end_a_trial() -> None:
    """The trial's own end does."""
    clock = FakeClock()
    breaker = _breaker(clock)
    slow = breaker.admit()
    for _ in range(3):
        breaker.failed(breaker.admit(), "down")
    clock.advance(10.0)
    breaker.admit()
    breaker.abandoned(slow)
    assert breaker.refuses


def test_the_wall_clock_does_not_count() -> None:
    """A day's jump neither opens nor closes."""
    clock = FakeClock()
    breaker = _open(clock)
    clock.set(NOW + DAY)
    assert breaker.refuses


def test_a_sign_of_life() -> None:
    """The next call is the trial; a closed one does not care."""
    clock = FakeClock()
    breaker = _open(clock)
    breaker.retry_now()
    trial = breaker.admit()
    assert breaker.refuses
    breaker.answered(trial)
    breaker.retry_now()
    assert breaker.view().state is State.CLOSED


def test_reasons_are_cut() -> None:
    """They may quote a far side."""
    breaker = _breaker(FakeClock())
    breaker.failed(breaker.admit(), "x" * 5000)
    assert len(breaker.view().reason) == 200
