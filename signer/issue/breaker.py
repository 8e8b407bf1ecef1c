"""A circuit breaker: a backend that fails again and again is left alone for a while, then tried with one request.

What counts is whether the backend *answers*. A refusal is an answer. An answer that fails verification is one too: it
is refused to its caller and seen by operators, but it opens no breaker, for one odd request must not take the backend
away from everybody else.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from signer.core.errors import BackendUnavailable
from signer.core.ports import Clock

_log = logging.getLogger("istio_signer.breaker")
# The open time is stretched by up to this part of itself, so that replicas do not try a sick backend as one.
SPREAD = 0.2
MAX_REASON = 200


class State(IntEnum):
    """What a breaker does; the numbers are the metric's."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker for people and metrics.

    Attributes:
        seconds: How long it has been in this state.
        reason: The last failure; empty before the first and after an answer.
    """

    state: State
    seconds: float
    failures: int
    reason: str


class Breaker:
    """Closed: all pass. Open: none. Half-open: one at a time, whose end decides.

    ``admit`` hands out a ticket, and exactly one of ``answered``, ``failed`` and ``abandoned`` takes it back. A ticket
    of an earlier state is void: a slow failure must not open again what has been closed since.

    Args:
        name: The backend's, for texts.
        limit: Failures in a row that open it.
        open_seconds: How long it stays open, at least.
        clock: Its monotonic hand only.
        chance: Numbers in [0, 1).
    """

    def __init__(
        self, name: str, limit: int, open_seconds: float, clock: Clock, chance: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._name = name
        self._limit = limit
        self._open_seconds = open_seconds
        self._clock = clock
        self._chance = chance
        self._state = State.CLOSED
        self._since = clock.monotonic()
        self._until = 0.0
        self._failures = 0
        self._reason = ""
        self._ticket = 0
        self._trying = False

    @property
    def refuses(self) -> bool:
        """Whether ``admit`` would raise now."""
        if self._state is State.CLOSED:
            return False
        return self._trying or self._clock.monotonic() < self._until

    def check(self) -> None:
        """Refuse what ``admit`` would refuse, without beginning anything.

        Raises:
            BackendUnavailable: It would.
        """
        if self.refuses:
            raise BackendUnavailable(f"the breaker of backend {self._name} is open: {self._reason}")

    def admit(self) -> int:
        """Let one call begin; where the open time is over, it is the trial.

        Raises:
            BackendUnavailable: It is open, or another trial is under way.
        """
        self.check()
        if self._state is not State.CLOSED:
            self._enter(State.HALF_OPEN)
            self._trying = True
        return self._ticket

    def answered(self, ticket: int) -> None:
        """Take back the ticket of a call that the backend answered."""
        if ticket != self._ticket:
            return
        self._failures, self._reason = 0, ""
        if self._state is not State.CLOSED:
            self._enter(State.CLOSED)
            _log.warning("backend %s answers again: its breaker is closed", self._name)

    def failed(self, ticket: int, reason: str) -> None:
        """Take back the ticket of a call that the backend failed."""
        if ticket != self._ticket:
            return
        self._failures += 1
        self._reason = reason[:MAX_REASON]
        if self._state is State.HALF_OPEN or self._failures >= self._limit:
            self._open()

    def abandoned(self, ticket: int) -> None:
        """Take back the ticket of a call that says nothing of the backend, such as one whose caller went away."""
        if ticket == self._ticket:
            self._trying = False

    def retry_now(self) -> None:
        """Let the next call be a trial: the backend gave a sign of life."""
        if self._state is State.OPEN:
            self._until = self._clock.monotonic()

    def view(self) -> BreakerView:
        """Describe it; an open one whose time is over waits for its trial, and counts as half-open."""
        now = self._clock.monotonic()
        state = State.HALF_OPEN if self._state is State.OPEN and now >= self._until else self._state
        return BreakerView(state, now - self._since, self._failures, self._reason)

    def _open(self) -> None:
        self._until = self._clock.monotonic() + self._open_seconds * (1 + SPREAD * self._chance())
        if self._state is State.CLOSED:
            _log.warning(
                "backend %s failed %d times in a row, its breaker is open: %s", self._name, self._failures, self._reason
            )
        self._enter(State.OPEN)

    def _enter(self, state: State) -> None:
        # One outage is one span for people, however many trials fail in it.
        if State.CLOSED in (state, self._state):
            self._since = self._clock.monotonic()
        self._state = state
        self._ticket += 1
        self._trying = False
