"""Questions that are the same, in flight and remembered: one answer for all, and nobody pulls the others down."""

import asyncio

import pytest

from signer.core.errors import BackendUnavailable
from signer.issue.dedupe import Coalescer
from tests.support.clock import FakeClock
from tests.support.fakes import Switch
from tests.support.waiting import give_up, settle


class Job:
    """Work that waits behind a switch."""

    def __init__(self, answer: str = "answer") -> None:
        self.switch = Switch(held=True)
        self.answer = answer
        self.cancelled = False

    async def run(self) -> str:
        """Pass the switch."""
        try:
            await self.switch.passing()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.answer


class Desk:
    """A coalescer and the jobs that it started."""

    def __init__(self, size: int = 10) -> None:
        self.clock = FakeClock()
        self.coalescer: Coalescer[Job, str] = Coalescer(self.clock, size)
        self.jobs: list[Job] = []

    def _job(self) -> Job:
        self.jobs.append(Job())
        return self.jobs[-1]

    async def ask(self, key: str = "k") -> str:
        """Ask and wait."""
        with self.coalescer.flight(key, self._job) as (flight, _):
            return await flight.answer()

    def asking(self, key: str = "k") -> "asyncio.Task[str]":
        """Somebody who asks."""
        return asyncio.create_task(self.ask(key))


async def test_one_answer_for_all() -> None:
    """One job; another key has its own."""
    desk = Desk()
    askers = [desk.asking() for _ in range(5)] + [desk.asking("other")]
    await settle()
    for job in desk.jobs:
        job.switch.opened.set()
    assert await asyncio.gather(*askers) == ["answer"] * 6
    assert len(desk.jobs) == 2


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_who_goes_away_takes_nobody_along(leaver: int) -> None:
    """Not even the one that asked first."""
    desk = Desk()
    askers = [desk.asking() for _ in range(3)]
    await settle()
    await give_up(askers.pop(leaver))
    desk.jobs[0].switch.opened.set()
    assert await asyncio.gather(*askers) == ["answer"] * 2
    assert (len(desk.jobs), desk.jobs[0].cancelled) == (1, False)


async def test_when_all_have_gone_the_work_is_cancelled() -> None:
    """And the next asker does not join a dead flight."""
    desk = Desk()
    askers = [desk.asking() for _ in range(3)]
    await settle()
    await give_up(*askers)
    again = desk.asking()
    await settle()
    assert desk.jobs[0].cancelled
    desk.jobs[1].switch.opened.set()
    assert await again == "answer"


def _depth(error: BaseException) -> int:
    count, frame = 0, error.__traceback__
    while frame is not None:
        count, frame = count + 1, frame.tb_next
    return count


async def test_failures_are_shared_and_not_remembered() -> None:
    """The same class and reason for each, whose frames do not pile up; the next asker starts anew."""
    desk = Desk()
    askers = [desk.asking() for _ in range(30)]
    await settle()
    desk.jobs[0].switch.fault = BackendUnavailable("down")
    desk.jobs[0].switch.opened.set()
    errors = await asyncio.gather(*askers, return_exceptions=True)
    assert {repr(error) for error in errors} == {"BackendUnavailable('down')"}
    assert max(_depth(error) for error in errors if isinstance(error, BaseException)) < 10
    again = desk.asking()
    await settle()
    desk.jobs[1].switch.opened.set()
    assert await again == "answer"


async def test_a_failure_that_nobody_waits_for_is_no_noise() -> None:
    """The loop would report an exception that nobody looked at."""
    desk = Desk()
    loop, complaints = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    asker = desk.asking()
    await settle()
    desk.jobs[0].switch.fault = ValueError("x")
    desk.jobs[0].switch.opened.set()
    asker.cancel()
    await settle()
    del desk, asker
    assert complaints == []


async def test_a_flight_can_be_joined_until_its_answer_is_kept() -> None:
    """Between the end of the work and its being remembered nobody starts anew."""
    desk = Desk()

    def never() -> Job:
        raise AssertionError("it must be joined")

    with desk.coalescer.flight("k", Job) as (flight, joined):
        assert not joined
        flight.work.switch.opened.set()
        await flight.answer()
        with desk.coalescer.flight("k", never) as (other, joined_too):
            assert joined_too
            assert await other.answer() == "answer"
    with desk.coalescer.flight("k", Job) as (later, joined):
        assert (later is flight, joined) == (False, False)


def test_memory() -> None:
    """For so many seconds of the monotonic clock."""
    desk = Desk()
    desk.coalescer.remember("k", "v", 60.0)
    desk.clock.advance(59.9)
    assert desk.coalescer.recall("k") == "v"
    desk.clock.advance(0.1)
    assert desk.coalescer.recall("k") is None
    assert len(desk.coalescer) == 0


def test_memory_is_bounded() -> None:
    """The oldest goes; what has ended goes first."""
    desk = Desk(size=3)
    for key in "abcd":
        desk.coalescer.remember(key, key, 60.0)
    assert [desk.coalescer.recall(key) for key in "abcd"] == [None, "b", "c", "d"]
    desk.clock.advance(61)
    desk.coalescer.remember("e", "e", 60.0)
    assert len(desk.coalescer) == 1


def test_forgetting() -> None:
    """One, or all."""
    desk = Desk()
    for key in "abc":
        desk.coalescer.remember(key, key, 60.0)
    desk.coalescer.forget("a")
    assert desk.coalescer.recall("a") is None
    desk.coalescer.clear()
    assert len(desk.coalescer) == 0
