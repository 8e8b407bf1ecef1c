"""What stands between the pipeline and one backend: caps, a breaker, and a time limit for each attempt."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from signer.core.allowance import allowing
from signer.core.errors import (
    BackendBusy,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    RefusedLocally,
    SignerError,
    Undecided,
)
from signer.core.ports import AnnouncesChange, AnswersAtOnce, Backend, Clock
from signer.issue.admission import Admission
from signer.issue.breaker import Breaker, BreakerView
from signer.issue.rate import TokenBucket
from signer.issue.tally import NoTally, Result, Tally
from signer.kube.cancellation import is_own_end
from signer.observe.logs import frames_of

T = TypeVar("T")
_log = logging.getLogger("istio_signer.guard")


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """How one backend is treated. Times are in seconds.

    Attributes:
        concurrency: Attempts at once.
        waiting: Attempts that may wait for a place.
        patience: How long one waits for a place.
        rate: Attempts a second; None means no limit.
        burst: Attempts at once after a pause; only with ``rate``.
        attempts: Tries of a request while the backend is unavailable; two at most where the route has a next backend.
        timeout: For each attempt; None means what the deadline leaves.
        breaker_failures: Failures in a row that open the breaker.
        breaker_open: How long it stays open.
        fair: A time-out is the backend's fault only if it had this long: callers choose deadlines, and short ones must
            not open the breaker for everybody.
    """

    concurrency: int = 64
    waiting: int = 256
    patience: float = 0.5
    rate: float | None = None
    burst: float = 1.0
    attempts: int = 2
    timeout: float | None = None
    breaker_failures: int = 5
    breaker_open: float = 10.0
    fair: float = 1.0


class Guarded:
    """A backend as the pipeline may use it.

    Args:
        backend: The backend itself.
        policy: Its limits.
        clock: For rate and breaker.
        tally: Told how each attempt ends.
        chance: Numbers in [0, 1) for jitter; nobody gains by guessing them.
    """

    def __init__(
        self,
        backend: Backend,
        policy: GuardPolicy,
        clock: Clock,
        tally: Tally | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = backend.name
        self.policy = policy
        self.at_once = isinstance(backend, AnswersAtOnce) and backend.answers_at_once
        """Whether an attempt never waits, once it has its place."""
        self._backend = backend
        self._tally = tally or NoTally()
        self._places = Admission(policy.concurrency, policy.waiting, policy.patience, BackendBusy)
        self._bucket = None if policy.rate is None else TokenBucket(policy.rate, policy.burst, clock)
        self._breaker = Breaker(backend.name, policy.breaker_failures, policy.breaker_open, clock, chance)
        if isinstance(backend, AnnouncesChange):
            backend.on_change(self._breaker.retry_now)

    @property
    def refuses(self) -> bool:
        """Whether the breaker would let nobody through now."""
        return self._breaker.refuses

    def view(self) -> BreakerView:
        """The breaker, for people and metrics."""
        return self._breaker.view()

    async def attempt(self, work: Callable[[Backend], Awaitable[T]], seconds: float) -> T:
        """Do ``work`` with the backend, within the limits.

        Args:
            work: What to do; its failures are taken for the backend's.
            seconds: How long it may take, apart from the wait for a place.

        Raises:
            BackendBusy: A cap is reached; the backend was not asked.
            BackendUnavailable: The breaker is open, or the backend says so.
            BackendTimeout: No answer within ``seconds``, or within the policy's time-out.
            Exception: Whatever else ``work`` raises.
        """
        self._check()
        await self._enter(seconds)
        try:
            ticket = self._admit()
            return await self._judged(work, ticket, min(seconds, self.policy.timeout or seconds))
        finally:
            self._places.leave()

    def _check(self) -> None:
        try:
            self._breaker.check()
        except BackendUnavailable:
            self._tally.attempt(self.name, "open")
            raise

    async def _enter(self, seconds: float) -> None:
        try:
            await self._places.enter(min(self.policy.patience, seconds))
        except BackendBusy as error:
            self._tally.attempt(self.name, "busy")
            raise BackendBusy(f"backend {self.name}: {error.reason}") from None

    def _admit(self) -> int:
        """The breaker may have opened during the wait. Only calls that will be made take a token of the rate."""
        self._check()
        if self._bucket is not None and not self._bucket.take():
            self._tally.attempt(self.name, "busy")
            raise BackendBusy(f"backend {self.name}: its rate of {self.policy.rate:g} calls a second is used up")
        return self._breaker.admit()

    async def _judged(self, work: Callable[[Backend], Awaitable[T]], ticket: int, seconds: float) -> T:
        try:
            result = await self._bounded(work, seconds)
        except BaseException as error:
            self._blame(ticket, error, seconds)
            raise
        self._breaker.answered(ticket)
        self._tally.attempt(self.name, "signed")
        return result

    async def _bounded(self, work: Callable[[Backend], Awaitable[T]], seconds: float) -> T:
        if self.at_once:
            return await work(self._backend)
        try:
            async with asyncio.timeout(seconds) as scope:
                with allowing(seconds):
                    return await work(self._backend)
        except TimeoutError:
            if scope.expired():
                raise BackendTimeout(f"backend {self.name}: no answer within {seconds:.2f} s") from None
            raise
        except asyncio.CancelledError:
            if is_own_end():
                raise
            # Nobody has cancelled this request: the backend let a cancellation of its own work escape.
            raise BackendUnavailable(f"backend {self.name}: its work was cancelled from within") from None

    def _blame(self, ticket: int, error: BaseException, seconds: float) -> None:
        """Say what a failure tells of the backend; callers' own mistakes and departures tell nothing."""
        result = result_of(error)
        self._tally.attempt(self.name, result)
        if isinstance(error, RefusedLocally | Undecided):
            self._breaker.abandoned(ticket)
        elif result == "refused":
            self._breaker.answered(ticket)
        elif result == "given_up" or (result == "timeout" and seconds < self.policy.fair):
            self._breaker.abandoned(ticket)
        else:
            reason = error.reason if isinstance(error, SignerError) else f"bug: {type(error).__name__}"
            self._breaker.failed(ticket, reason)

    def log_bug(self, error: BaseException) -> None:
        """Log the frames of a bug that another backend makes up for; never its message, which may quote anything."""
        frames = frames_of(error)
        _log.error("backend %s: bug: %s; the next one is asked\n%s", self.name, type(error).__name__, frames)


_RESULTS: tuple[tuple[type[BaseException], Result], ...] = (
    (BackendRefused, "refused"),
    (BackendTimeout, "timeout"),
    (BackendUnavailable, "unavailable"),
    # The caller went away, or asked for what its route does not allow.
    (asyncio.CancelledError, "given_up"),
    (SignerError, "given_up"),
)


def result_of(error: BaseException) -> Result:
    """Name the end of an attempt; what is not in the table is a bug."""
    return next((result for kind, result in _RESULTS if isinstance(error, kind)), "bug")
