"""What stands before a backend: caps that leak no place, blame where it belongs, a limit on time."""

import asyncio
from math import inf
from typing import Any

import pytest

from signer.core.allowance import allowed_seconds
from signer.core.errors import (
    BackendBusy,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ChainRejected,
    RefusedLocally,
    SignerError,
    Undecided,
    ValidityRejected,
)
from signer.core.ports import Backend
from signer.issue.breaker import State
from signer.issue.guard import Guarded, GuardPolicy
from tests.support.clock import FakeClock
from tests.support.fakes import AnnouncingBackend, FakeBackend
from tests.support.tallying import Tallying
from tests.support.waiting import give_up, settle

_SOON = 0.02


class Guard:
    """A guarded fake, and what it told."""

    def __init__(self, backend: FakeBackend | None = None, **policy: Any) -> None:
        self.backend = backend or FakeBackend("one")
        self.clock = FakeClock()
        self.tally = Tallying()
        limits = GuardPolicy(**policy)
        self.guarded = Guarded(self.backend, limits, self.clock, self.tally, lambda: 0.0)

    async def attempt(self, seconds: float = 60.0) -> str:
        """Pass the backend's probe."""
        return await self.guarded.attempt(_probe, seconds)

    def started(self) -> "asyncio.Task[str]":
        """One on its way."""
        return asyncio.create_task(self.attempt())

    async def fail(self, error: BaseException, times: int = 1) -> None:
        """Have attempts fail."""
        self.backend.probing.fault = error
        for _ in range(times):
            with pytest.raises(type(error)):
                await self.attempt()
        self.backend.probing.fault = None

    @property
    def state(self) -> State:
        """Of the breaker."""
        return self.guarded.view().state


async def _probe(backend: Backend) -> str:
    await backend.probe()
    return "done"


_BLAMED = [BackendUnavailable("sealed"), BackendTimeout("slow"), KeyError("bug"), TimeoutError("bug")]
_SILENT = [ValidityRejected("too long"), RefusedLocally("too short"), Undecided("nobody"), SignerError("?")]
_NOT_BLAMED = [BackendRefused("no"), ChainRejected("odd"), *_SILENT]


@pytest.mark.parametrize("error", _BLAMED, ids=repr)
async def test_what_opens_the_breaker(error: Exception) -> None:
    """Silence, sealed doors and bugs."""
    guard = Guard()
    await guard.fail(error, 5)
    assert guard.state is State.OPEN
    with pytest.raises(BackendUnavailable, match="breaker of backend one is open"):
        await guard.attempt()
    assert guard.backend.probing.calls == 5
    assert guard.tally.results[-1] == "open"


@pytest.mark.parametrize("error", _NOT_BLAMED, ids=repr)
async def test_what_does_not(error: Exception) -> None:
    """One caller's odd requests must not take the backend from the others."""
    guard = Guard()
    await guard.fail(error, 20)
    assert guard.state is State.CLOSED


async def test_a_refusal_is_an_answer() -> None:
    """It ends a row of failures, and closes a breaker on trial."""
    guard = Guard()
    await guard.fail(BackendUnavailable("down"), 4)
    await guard.fail(BackendRefused("no"))
    await guard.fail(BackendUnavailable("down"), 4)
    assert guard.state is State.CLOSED
    await guard.fail(BackendUnavailable("down"))
    guard.clock.advance(10.0)
    await guard.fail(BackendRefused("no"))
    assert guard.state is State.CLOSED


@pytest.mark.parametrize("error", _SILENT, ids=repr)
async def test_what_says_nothing_of_the_backend_heals_nothing(error: Exception) -> None:
    """It ends no row of failures, and leaves a breaker on trial to the next one."""
    guard = Guard()
    await guard.fail(BackendUnavailable("down"), 4)
    await guard.fail(error)
    await guard.fail(BackendUnavailable("down"))
    guard.clock.advance(10.0)
    await guard.fail(error)
    assert guard.state is State.HALF_OPEN
    assert await guard.attempt() == "done"


async def test_an_attempt_knows_what_it_is_allowed() -> None:
    """And nobody else does."""
    guard = Guard(timeout=7.0)

    async def work(_: Backend) -> float:
        return allowed_seconds()

    assert await guard.guarded.attempt(work, 60.0) == 7.0
    assert allowed_seconds() == inf


async def test_callers_that_go_away_are_nobodys_fault() -> None:
    """Not the backend's, and no place is lost."""
    guard = Guard(concurrency=2)
    guard.backend.probing.held = True
    for _ in range(20):
        task = guard.started()
        await settle()
        await give_up(task)
    assert (guard.state, guard.tally.results) == (State.CLOSED, ["given_up"] * 20)
    guard.backend.probing.held = False
    assert await guard.attempt() == "done"


async def test_a_cancelled_trial_does_not_stick() -> None:
    """The next call is a trial again."""
    guard = Guard()
    await guard.fail(BackendUnavailable("down"), 5)
    guard.clock.advance(10.0)
    guard.backend.probing.held = True
    trial = guard.started()
    await settle()
    with pytest.raises(BackendUnavailable):
        await guard.attempt()
    await give_up(trial)
    guard.backend.probing.held = False
    assert await guard.attempt() == "done"
    assert guard.state is State.CLOSED


async def test_slow_is_told_as_slow() -> None:
    """Within the attempt's time, or the policy's where that is shorter."""
    for timeout, seconds in ((None, _SOON), (_SOON, 60.0)):
        guard = Guard(timeout=timeout)
        guard.backend.probing.held = True
        with pytest.raises(BackendTimeout, match=r"backend one: no answer within 0\.02 s"):
            await guard.attempt(seconds)
        assert guard.tally.results == ["timeout"]


async def test_short_deadlines_are_the_callers_choice() -> None:
    """Who gives a millisecond must not open the breaker for everybody; who gave a fair time does."""
    for fair, state in ((1.0, State.CLOSED), (_SOON / 2, State.OPEN)):
        guard = Guard(fair=fair)
        guard.backend.probing.held = True
        for _ in range(5):
            with pytest.raises(BackendTimeout):
                await guard.attempt(_SOON)
        assert guard.state is state


async def test_places() -> None:
    """One works, one waits, the third is told; whoever waited comes in."""
    guard = Guard(concurrency=1, waiting=1)
    guard.backend.probing.held = True
    first, second = guard.started(), guard.started()
    await settle()
    with pytest.raises(BackendBusy, match="backend one: 1 requests are in flight and 1 wait"):
        await guard.attempt()
    guard.backend.probing.opened.set()
    assert [await first, await second] == ["done", "done"]
    assert sorted(guard.tally.results) == ["busy", "signed", "signed"]


async def test_waiting_for_a_place_is_short() -> None:
    """And is told as busy, not as slow: the backend was never asked."""
    guard = Guard(concurrency=1, patience=_SOON)
    guard.backend.probing.held = True
    first = guard.started()
    await settle()
    with pytest.raises(BackendBusy, match=r"no place came free within 0\.02 s"):
        await guard.attempt()
    await give_up(first)
    assert guard.state is State.CLOSED


async def test_places_survive_cancellation_in_the_queue() -> None:
    """Cancelled while waiting, before and at the moment that a place comes free: none is lost."""
    guard = Guard(concurrency=1, waiting=5)
    guard.backend.probing.held = True
    first = guard.started()
    await settle()
    waiting = [guard.started() for _ in range(3)]
    await settle()
    await give_up(waiting[0])
    guard.backend.probing.opened.set()
    await first
    await give_up(waiting[1])
    assert await waiting[2] == "done"
    assert [await guard.attempt() for _ in range(3)] == ["done"] * 3


async def test_who_waited_is_stopped_by_an_opened_breaker() -> None:
    """It was closed when they came."""
    guard = Guard(concurrency=1, breaker_failures=1)
    guard.backend.probing.held, guard.backend.probing.fault = True, BackendUnavailable("down")
    first, second = guard.started(), guard.started()
    await settle()
    guard.backend.probing.opened.set()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert ["open" in str(result) for result in results] == [False, True]
    assert guard.backend.probing.calls == 1


async def test_rate() -> None:
    """A burst, then so many a second; time on the wall does not count."""
    guard = Guard(rate=2.0, burst=3.0)
    for _ in range(3):
        await guard.attempt()
    with pytest.raises(BackendBusy, match="its rate of 2 calls a second is used up"):
        await guard.attempt()
    guard.clock.advance(0.5)
    await guard.attempt()
    with pytest.raises(BackendBusy):
        await guard.attempt()
    guard.clock.advance(3600)
    for _ in range(3):
        await guard.attempt()
    with pytest.raises(BackendBusy):
        await guard.attempt()


async def test_a_backend_that_lets_a_cancellation_escape() -> None:
    """Nobody has gone away: it is unavailable, and the request is not told as cancelled."""
    guard = Guard()
    guard.backend.probing.fault = asyncio.CancelledError()
    with pytest.raises(BackendUnavailable, match="cancelled from within"):
        await guard.attempt()


async def test_a_change_of_the_ca_is_a_sign_of_life() -> None:
    """Mended files need not wait for the breaker."""
    backend = AnnouncingBackend("one")
    guard = Guard(backend)
    await guard.fail(BackendUnavailable("no CA"), 5)
    backend.swap(backend.ca)
    assert await guard.attempt() == "done"
