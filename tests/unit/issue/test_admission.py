"""The door: a cap, a short wait, and no place lost."""

import asyncio

import pytest

from signer.core.errors import Overloaded
from signer.issue.admission import Admission
from tests.support.waiting import give_up, settle, until

_LONG = 60.0


async def _hold(admission: Admission, leave: asyncio.Event) -> None:
    async with admission:
        await leave.wait()


def _enter(admission: Admission, leave: asyncio.Event) -> "asyncio.Task[None]":
    return asyncio.create_task(_hold(admission, leave))


async def test_counts() -> None:
    """In flight is who is inside."""
    admission, leave = Admission(2, 0, _LONG), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_hold(admission, leave))
        group.create_task(_hold(admission, leave))
        await settle()
        assert admission.in_flight == 2
        leave.set()
    assert admission.in_flight == 0


async def test_cap_without_waiting() -> None:
    """Over the cap, and nobody may wait: refused at once."""
    admission = Admission(1, 0, _LONG)
    async with admission:
        with pytest.raises(Overloaded, match="1 requests are in flight and 0 wait"):
            await _hold(admission, asyncio.Event())


async def test_waits_for_a_place() -> None:
    """The next one gets the place that comes free."""
    admission, first, second = Admission(1, 1, _LONG), asyncio.Event(), asyncio.Event()
    one, two = _enter(admission, first), _enter(admission, second)
    await settle()
    assert admission.in_flight == 1
    first.set()
    await one
    await until(lambda: admission.in_flight == 1)
    second.set()
    await two


async def test_waiting_is_bounded() -> None:
    """Only so many may wait."""
    admission, leave = Admission(1, 2, _LONG), asyncio.Event()
    tasks = [_enter(admission, leave) for _ in range(3)]
    await settle()
    with pytest.raises(Overloaded, match="2 wait"):
        await _hold(admission, leave)
    leave.set()
    await asyncio.gather(*tasks)


async def test_waiting_ends() -> None:
    """And only so long; whoever gave up leaves its place in the queue to others."""
    admission = Admission(1, 1, 0.01)
    async with admission:
        for _ in range(3):
            with pytest.raises(Overloaded, match=r"no place came free within 0\.01 s"):
                await _hold(admission, asyncio.Event())
    async with admission:
        assert admission.in_flight == 1


async def test_cancelled_inside_gives_the_place_back() -> None:
    """A caller that goes away takes nothing with it."""
    admission = Admission(1, 0, _LONG)
    task = _enter(admission, asyncio.Event())
    await settle()
    await give_up(task)
    async with admission:
        assert admission.in_flight == 1


async def test_cancelled_while_waiting_gives_the_turn_on() -> None:
    """Nor does one that was only waiting, even where its turn has just come."""
    admission, leave, stay = Admission(1, 2, _LONG), asyncio.Event(), asyncio.Event()
    inside, waiting, next_one = (_enter(admission, event) for event in (leave, stay, stay))
    await settle()
    leave.set()
    await inside
    waiting.cancel()
    await until(lambda: waiting.done() and admission.in_flight == 1)
    stay.set()
    await next_one
    assert waiting.cancelled()
    assert admission.in_flight == 0


async def test_failure_inside_gives_the_place_back() -> None:
    """Whatever happens inside."""
    admission = Admission(1, 0, _LONG)
    with pytest.raises(ValueError, match="inside"):
        async with admission:
            raise ValueError("inside")
    assert admission.in_flight == 0
    async with admission:
        pass


async def test_never_over_the_cap() -> None:
    """Many at once: never more inside than allowed."""
    admission, most = Admission(3, 100, _LONG), 0

    async def visit() -> None:
        nonlocal most
        async with admission:
            most = max(most, admission.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(visit() for _ in range(50)))
    assert most == 3
    assert admission.in_flight == 0
