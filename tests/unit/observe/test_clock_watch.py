"""A wall clock that jumps is noticed; one that is corrected, or a program that slept, is not."""

from datetime import timedelta

import pytest

from signer.observe.clock_watch import JUMP, ClockWatch
from tests.support.clock import FakeClock

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("jump", "told"),
    [
        (JUMP, False),
        (JUMP + SECOND, True),
        (-JUMP, False),
        (-JUMP - SECOND, True),
        (timedelta(0), False),
    ],
)
def test_jumps(jump: timedelta, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    clock, seen = FakeClock(), list[timedelta]()
    watch = ClockWatch(clock, seen.append)
    clock.advance(5.0)
    clock.set(clock.now() + jump)
    watch.look()
    assert seen == ([jump] if told else [])
    assert ("the clock has jumped" in caplog.text) == told
    watch.look()
    assert len(seen) == int(told), "said once"


def test_a_program_that_slept_has_seen_no_jump() -> None:
    """Both clocks went on."""
    clock, seen = FakeClock(), list[timedelta]()
    watch = ClockWatch(clock, seen.append)
    clock.advance(timedelta(hours=9))
    watch.look()
    assert seen == []


def test_many_small_corrections_are_none() -> None:
    clock, seen = FakeClock(), list[timedelta]()
    watch = ClockWatch(clock, seen.append)
    for _ in range(100):
        clock.advance(5.0)
        clock.set(clock.now() + timedelta(seconds=30))
        watch.look()
    assert seen == []
