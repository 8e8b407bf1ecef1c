"""From one backend of a route to the next: on silence, never on a decision, and always within the time there is."""

import asyncio
import logging

import pytest

from signer.core.errors import (
    BackendBusy,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ChainRejected,
    Code,
)
from signer.issue.failover import Failover
from signer.issue.guard import Guarded, GuardPolicy
from tests.support.clock import FakeClock
from tests.support.fakes import FakeBackend
from tests.support.line import Line
from tests.support.tallying import Tallying

_SOON = 0.1


def _failing(*errors: BaseException | None, **changes: object) -> Line:
    line = Line(**changes)  # type: ignore[arg-type]
    for backend, error in zip(line.backends, errors, strict=False):
        backend.signing.fault = error
    return line


@pytest.mark.parametrize(
    "error", [BackendUnavailable("down"), BackendTimeout("slow"), KeyError("leak"), BackendBusy("full")], ids=repr
)
async def test_silence_leads_on(error: Exception) -> None:
    """The second one signs; the Outcome names it, and the one that was passed over."""
    line = _failing(error)
    await line.issue()
    outcome = line.witness.only
    assert (outcome.code, outcome.backend, outcome.bug) == (Code.OK, "second", None)
    (passed,) = outcome.passed_over
    assert passed.startswith(f"first: {type(error).__name__}: ")
    assert "leak" not in passed


@pytest.mark.parametrize("error", [BackendRefused("no"), ChainRejected("odd"), BackendError("?")], ids=repr)
async def test_a_decision_does_not(error: Exception) -> None:
    """The second one is not asked to overrule it."""
    line = _failing(error)
    outcome = await line.refused()
    assert (outcome.backend, outcome.error) == ("first", type(error).__name__)
    assert line.backends[1].requests == []


async def test_a_bug_that_is_made_up_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its frames, without its message."""
    with caplog.at_level(logging.ERROR, "istio_signer.guard"):
        await _failing(KeyError("leak")).issue()
    assert "backend first: bug: KeyError; the next one is asked" in caplog.text
    assert "in passing" in caplog.text
    assert "leak" not in caplog.text


async def test_one_that_hangs_leaves_time_for_the_next() -> None:
    """Half of what is left, as long as another one follows."""
    line = Line()
    line.backends[0].signing.held = True
    await line.issue(budget=1.0)
    assert line.witness.only.backend == "second"


async def test_an_open_successor_needs_no_time() -> None:
    """The first one has all that is left."""
    line = Line(policy=GuardPolicy(attempts=1, breaker_failures=1))
    line.backends[0].signing.held = True
    guarded = [Guarded(backend, line.policy, line.clock) for backend in line.backends]
    tally, now = Tallying(), asyncio.get_running_loop().time

    async def work(backend: object) -> float:
        return now()

    line.backends[1].signing.fault = BackendUnavailable("down")
    with pytest.raises(BackendUnavailable):
        await guarded[1].attempt(lambda backend: backend.sign(None), 1.0)  # type: ignore[arg-type]
    one = Failover("r", guarded, work, now() + 10.0, tally)
    assert one._budget(guarded[1:]) > 9.0
    assert one._budget(guarded[:1]) < 5.1


async def test_all_are_silent() -> None:
    """The last one's reason is told, the others' are kept."""
    outcome = await _failing(BackendTimeout("slow 0"), BackendUnavailable("down 1")).refused()
    assert (outcome.reason, outcome.code) == ("down 1", Code.UNAVAILABLE)
    assert outcome.passed_over == ("first: BackendTimeout: slow 0",)


async def _tries(line: Line, count: int) -> list[int]:
    line.backends = line.backends[:count]
    await line.refused()
    return [backend.signing.calls for backend in line.backends]


async def test_tries() -> None:
    """As many as are set on the last backend, two at most on one that another follows."""
    many = GuardPolicy(attempts=3)
    down = BackendUnavailable("down")
    assert await _tries(_failing(down, policy=many), 1) == [3]
    assert await _tries(_failing(down, down, policy=many), 2) == [2, 3]


@pytest.mark.parametrize("error", [BackendTimeout("slow"), BackendRefused("no"), KeyError("bug")], ids=repr)
async def test_only_the_unavailable_is_tried_again(error: Exception) -> None:
    """After a time-out the first try may still be at work there."""
    line = _failing(error, policy=GuardPolicy(attempts=3))
    line.backends = line.backends[:1]
    with pytest.raises(type(error)):
        await line.issue()
    assert line.backends[0].signing.calls == 1


async def test_no_try_without_time() -> None:
    """A pause that would eat the deadline is not made."""
    line = _failing(BackendUnavailable("down"), policy=GuardPolicy(attempts=3))
    line.backends = line.backends[:1]
    assert (await line.refused(budget=_SOON)).error == "BackendUnavailable"
    assert line.backends[0].signing.calls == 1


async def test_a_second_try_signs() -> None:
    """A hiccup costs a pause."""
    backend = FakeBackend("first")
    tally, clock = Tallying(), FakeClock()
    faults = [BackendUnavailable("hiccup")]

    async def work(_: object) -> str:
        if faults:
            raise faults.pop()
        return "done"

    ends = asyncio.get_running_loop().time() + 5.0
    one = Failover("r", [Guarded(backend, GuardPolicy(), clock, tally)], work, ends, tally, lambda: 0.0)
    assert await one.run() == "done"
    assert tally.attempts == [("first", "unavailable"), ("first", "signed")]
    assert tally.failovers == []


async def test_open_breakers_fail_fast() -> None:
    """No backend is asked, no pause is made."""
    clock, tally = FakeClock(), Tallying()
    guarded = [Guarded(FakeBackend(n), GuardPolicy(breaker_failures=1), clock, tally) for n in ("one", "two")]
    calls = 0

    async def work(_: object) -> str:
        nonlocal calls
        calls += 1
        raise BackendUnavailable("down")

    loop = asyncio.get_running_loop()
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await Failover("r", guarded, work, loop.time() + 60.0, tally).run()
    start = loop.time()
    with pytest.raises(BackendUnavailable, match="breaker of backend two is open: down"):
        await Failover("r", guarded, work, start + 60.0, tally).run()
    assert calls == 2
    assert loop.time() - start < 0.04
    assert tally.failovers == [("one", "two")] * 3


async def test_no_time_at_all() -> None:
    """Nobody is asked for what nobody waits for."""
    tally, asked = Tallying(), list[object]()

    async def work(backend: object) -> None:
        asked.append(backend)

    guarded = Guarded(FakeBackend("one"), GuardPolicy(), FakeClock(), tally)
    past = asyncio.get_running_loop().time() - 1.0
    with pytest.raises(BackendTimeout, match="no time is left for backend one"):
        await Failover("r", [guarded], work, past, tally).run()
    assert (asked, tally.attempts) == ([], [])
