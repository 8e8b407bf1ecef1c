"""Questions that are shared: asked once, bounded, and given up without a word to those who did not wait."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from signer.kube.answer import ApiUnavailable
from signer.kube.asking import Asking
from tests.support.waiting import give_up, settle

LIMIT = 3


class Full(Exception):
    """What a user of its own raises."""


class Ended(Exception):
    """Likewise."""


class Oracle:
    """Answers when the gate is open; notes what it was asked, and what was given up."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.given_up: list[str] = []
        self.fault: Exception | None = None
        self.gate = asyncio.Event()

    async def say(self, what: str) -> str:
        """Give what was asked for in capitals, or the fault."""
        self.asked.append(what)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up.append(what)
            raise
        if self.fault:
            raise self.fault
        return what.upper()


Ask = Callable[[str], "asyncio.Task[str]"]


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def asking() -> Asking[str]:
    return Asking("words", LIMIT, busy=Full, closed=Ended)


@pytest.fixture
def ask(asking: Asking[str], oracle: Oracle) -> Ask:
    """Ask in a task of its own, by the word as the key."""
    return lambda word: asyncio.create_task(asking.ask(word, lambda: oracle.say(word)))


async def test_the_same_is_asked_once_at_a_time(ask: Ask, oracle: Oracle) -> None:
    """And again once it was answered: nothing is remembered here."""
    asking = [ask("a"), ask("a"), ask("b")]
    await settle()
    assert oracle.asked == ["a", "b"]
    oracle.gate.set()
    assert await asyncio.gather(*asking) == ["A", "A", "B"]
    await settle()
    assert (await ask("a"), oracle.asked) == ("A", ["a", "b", "a"])


@pytest.mark.parametrize("gone", [0, 1])
async def test_one_that_goes_away_hurts_nobody(ask: Ask, oracle: Oracle, gone: int) -> None:
    """Be it the first, whose question it was."""
    asking = [ask("a"), ask("a")]
    await settle()
    await give_up(asking[gone])
    assert asking[gone].cancelled()
    oracle.gate.set()
    assert await asking[1 - gone] == "A"
    assert (oracle.asked, oracle.given_up) == (["a"], [])


async def test_one_that_is_late_is_late(ask: Ask, asking: Asking[str], oracle: Oracle) -> None:
    """Its deadline is its own, and the question goes on for the others."""
    other = ask("a")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asking.ask("a", lambda: oracle.say("a"))
    oracle.gate.set()
    assert await other == "A"


async def test_a_fault_is_everybodys(ask: Ask, oracle: Oracle) -> None:
    """As it is."""
    oracle.fault = ValueError("no such word")
    oracle.gate.set()
    told = await asyncio.gather(ask("a"), ask("a"), return_exceptions=True)
    assert list(told) == [oracle.fault] * 2


async def test_a_fault_that_nobody_waits_for_is_not_reported(ask: Ask, oracle: Oracle) -> None:
    """It was an answer to somebody who has gone away."""
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    asker = ask("a")
    await settle()
    await give_up(asker)
    oracle.fault = ValueError("no such word")
    oracle.gate.set()
    await settle()
    del asker
    gc.collect()
    assert reported == []


async def test_not_too_many(ask: Ask, oracle: Oracle) -> None:
    """What is under way can be shared; each answer makes room."""
    under_way = [ask(word) for word in "abc"]
    await settle()
    with pytest.raises(Full, match=f"^words: {LIMIT} questions are under way$"):
        await ask("d")
    shared = ask("a")
    oracle.gate.set()
    assert await asyncio.gather(shared, *under_way) == ["A", "A", "B", "C"]
    await settle()
    assert await ask("d") == "D"


async def test_who_waits_when_it_is_closed_is_told_so(ask: Ask, asking: Asking[str], oracle: Oracle) -> None:
    """Not that it was cancelled itself; no question goes on."""
    waiting = [ask("a"), ask("a"), ask("b")]
    await settle()
    await asking.close()
    assert sorted(oracle.given_up) == ["a", "b"]
    for asker in waiting:
        with pytest.raises(Ended, match=r"^words: closed"):
            await asker


async def test_who_is_ending_itself_is_told_so_as_well(asking: Asking[str], oracle: Oracle) -> None:
    """A task that asks while it cleans up after its own cancellation has been cancelled before, not now."""

    async def ends() -> str:
        try:
            await asyncio.Event().wait()
            return "never"
        except asyncio.CancelledError:
            return await asking.ask("a", lambda: oracle.say("a"))

    ending = asyncio.create_task(ends())
    await settle()
    ending.cancel()
    await settle()
    await asking.close()
    with pytest.raises(Ended):
        await ending


async def test_an_asker_that_is_cancelled_while_it_is_closed_is_cancelled(ask: Ask, asking: Asking[str]) -> None:
    """Its own end comes first."""
    asker = ask("a")
    await settle()
    closing = asyncio.create_task(asking.close())
    asker.cancel()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await asker


async def test_once_closed_nothing_is_asked(ask: Ask, asking: Asking[str], oracle: Oracle) -> None:
    """However often it is closed: a task begun then would be left behind."""
    await asking.close()
    await asking.close()
    with pytest.raises(Ended):
        await ask("a")
    assert oracle.asked == []


async def test_the_api_servers_error_unless_said_otherwise(oracle: Oracle) -> None:
    """As its users here want it."""
    asking: Asking[str] = Asking("words", 0)
    with pytest.raises(ApiUnavailable, match="under way"):
        await asking.ask("a", lambda: oracle.say("a"))
    await asking.close()
    with pytest.raises(ApiUnavailable, match="closed"):
        await asking.ask("a", lambda: oracle.say("a"))
