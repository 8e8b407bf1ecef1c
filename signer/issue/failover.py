"""One request's way through the backends of its route, until one decides or time is over.

What leads to the next backend is that one did not answer: unavailable, too slow, busy, or a bug of its own. A refusal
is an answer, and the next backend is not asked to overrule it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from signer.core.errors import BackendBusy, BackendTimeout, BackendUnavailable, SignerError
from signer.core.ports import Backend
from signer.issue.guard import Guarded
from signer.issue.tally import Tally

T = TypeVar("T")
# Of what is left, while another backend that would be asked follows: one that hangs must leave it a chance.
SHARE = 0.5
# Tries on a backend that has a successor.
TRIES_BEFORE_NEXT = 2
# Seconds between two tries on one backend.
MIN_PAUSE, MAX_PAUSE = 0.05, 0.2
MAX_REASON = 200


def leads_on(error: BaseException) -> bool:
    """Tell whether a failure is one that the next backend may make good."""
    if isinstance(error, SignerError):
        return isinstance(error, BackendUnavailable | BackendTimeout | BackendBusy)
    return isinstance(error, Exception)


class Failover(Generic[T]):
    """Runs once.

    Args:
        route: The route's name, for texts.
        backends: In order of preference.
        work: What to do with one of them.
        ends: When it must be over, by the event loop's clock.
        tally: Told of each change of backend.
        chance: Numbers in [0, 1) for the pauses.
    """

    def __init__(
        self,
        route: str,
        backends: Sequence[Guarded],
        work: Callable[[Backend], Awaitable[T]],
        ends: float,
        tally: Tally,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.backend = ""
        """The backend that was asked last."""
        self.passed_over: list[str] = []
        """Why backends before it were left, as ``name: error: reason``."""
        self.ends = ends
        self._route = route
        self._backends = backends
        self._work = work
        self._tally = tally
        self._chance = chance
        self._now = asyncio.get_running_loop().time

    async def run(self) -> T:
        """Ask one backend after the other.

        Raises:
            BackendUnavailable, BackendTimeout, BackendBusy: None has answered; it is the last one's failure.
            Exception: The decision, or the bug, of the backend that was asked last.
        """
        for place, guarded in enumerate(self._backends):
            following = self._backends[place + 1 :]
            self.backend = guarded.name
            try:
                return await self._tried(guarded, following)
            except Exception as error:
                if not following or not leads_on(error):
                    raise
                self._pass_over(guarded, error, following[0])
        raise BackendUnavailable(f"route {self._route} has no backend")

    def _pass_over(self, guarded: Guarded, error: Exception, following: Guarded) -> None:
        if not isinstance(error, SignerError):
            guarded.log_bug(error)
        reason = error.reason if isinstance(error, SignerError) else "bug"
        self.passed_over.append(f"{guarded.name}: {type(error).__name__}: {reason[:MAX_REASON]}")
        self._tally.failover(guarded.name, following.name)

    async def _tried(self, guarded: Guarded, following: Sequence[Guarded]) -> T:
        """Try one backend; again only where it was unavailable, its breaker allows it, and there is time for it."""
        tries = min(guarded.policy.attempts, TRIES_BEFORE_NEXT) if following else guarded.policy.attempts
        for _ in range(tries - 1):
            try:
                return await guarded.attempt(self._work, self._budget(following))
            except BackendUnavailable:
                pause = MIN_PAUSE + (MAX_PAUSE - MIN_PAUSE) * self._chance()
                if guarded.refuses or self._now() + 2 * pause >= self.ends:
                    raise
            await asyncio.sleep(pause)
        return await guarded.attempt(self._work, self._budget(following))

    def _budget(self, following: Sequence[Guarded]) -> float:
        """Seconds for the next attempt; a successor whose breaker is open needs none.

        Raises:
            BackendTimeout: Nothing is left.
        """
        left = self.ends - self._now()
        if left <= 0:
            raise BackendTimeout(f"no time is left for backend {self.backend}")
        return left * SHARE if any(not guarded.refuses for guarded in following) else left
