"""Whether we lead, by a clock that the test moves; nothing runs in between, as in a process that was frozen."""

import asyncio

import pytest

from signer.kube.lease_tenure import LOOK_SECONDS, Tenure
from tests.support import virtual_time
from tests.support.clock import FakeClock
from tests.support.virtual_time import LoopClock
from tests.support.waiting import settle


class Scene:
    """A tenure of 10 s a renewal."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[bool] = []
        self.tenure = Tenure(self.clock, 10.0, self.told.append)


def test_it_ends_by_the_clock_alone() -> None:
    at = Scene()
    looks = [at.tenure.leads]
    at.tenure.hold(at.clock.monotonic(), 3)
    for seconds in (0.0, 9.99, 0.01, 3600.0):
        at.clock.advance(seconds)
        looks.append(at.tenure.leads)
    assert looks == [False, True, True, False, False]
    assert at.tenure.left == 0.0


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    at = Scene()
    sent = at.clock.monotonic()
    at.clock.advance(9.0)
    at.tenure.hold(sent, 3)
    assert at.tenure.left == pytest.approx(1.0)
    at.clock.advance(1.0)
    assert not at.tenure.leads


def test_one_whose_answer_comes_too_late_gives_nothing() -> None:
    at = Scene()
    sent = at.clock.monotonic()
    at.clock.advance(11.0)
    at.tenure.hold(sent, 3)
    assert (at.tenure.leads, at.told) == (False, [])


def test_a_lapse_is_told_before_it_is_mended() -> None:
    at = Scene()
    at.tenure.hold(at.clock.monotonic(), 3)
    at.clock.advance(11.0)
    at.tenure.hold(at.clock.monotonic(), 5)
    assert (at.told, at.tenure.term) == ([True, False, True], 5)


def test_what_is_dropped_is_told_once() -> None:
    at = Scene()
    at.tenure.hold(at.clock.monotonic(), 3)
    at.tenure.drop()
    at.tenure.drop()
    assert (at.tenure.leads, at.told) == (False, [True, False])


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    at = Scene()
    at.tenure.hold(at.clock.monotonic(), 3)
    at.clock.set(at.clock.now().replace(year=2035))
    assert at.tenure.leads


def test_who_is_told_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    def fail(leads: bool) -> None:
        raise RuntimeError("duties")

    tenure = Tenure(FakeClock(), 10.0, fail)
    tenure.hold(1000.0, 1)
    assert tenure.leads
    assert "elections go on" in caplog.text


def test_a_loss_is_noticed_within_a_second() -> None:
    assert LOOK_SECONDS < 1.0

    async def main() -> list[tuple[float, bool]]:
        loop = asyncio.get_running_loop()
        told: list[tuple[float, bool]] = []
        tenure = Tenure(LoopClock(loop), 10.0, lambda leads: told.append((loop.time(), leads)))
        watching = asyncio.create_task(tenure.watch())
        await asyncio.sleep(0.3)
        tenure.hold(loop.time(), 1)
        await asyncio.sleep(20.0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return told

    (gained, first), (lost, second) = virtual_time.run(main)
    assert (first, second) == (True, False)
    assert 10.0 <= lost - gained < 11.0


async def test_waiting_for_it_neither_spins_nor_misses() -> None:
    at = Scene()
    at.tenure.hold(at.clock.monotonic(), 1)
    await at.tenure.wait()
    at.clock.advance(11.0)
    waiting = asyncio.create_task(at.tenure.wait())
    await settle()
    assert not waiting.done(), "an old gain is no present lead"
    at.tenure.hold(at.clock.monotonic(), 2)
    async with asyncio.timeout(5):
        await waiting
