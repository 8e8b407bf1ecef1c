"""Follows one request through its stages and writes its Outcome."""

import asyncio

from signer.core.errors import CANCELLED, Code, SignerError, meaning
from signer.core.ports import Clock
from signer.core.types import Outcome

# Reasons quote what strangers send.
MAX_REASON = 512


class Trace:
    """A stopwatch over stages, and the one writer of ``outcome``'s verdict."""

    __slots__ = ("_clock", "_lap", "_start", "outcome")

    def __init__(self, clock: Clock, outcome: Outcome) -> None:
        self.outcome = outcome
        self._clock = clock
        self._start = self._lap = clock.monotonic()

    def to(self, stage: str) -> None:
        """Enter a stage; the time since the last one ends on that one's account."""
        now = self._clock.monotonic()
        spent = self.outcome.stages
        spent[self.outcome.stage] = spent.get(self.outcome.stage, 0.0) + now - self._lap
        self.outcome.stage = stage
        self._lap = now

    def succeeded(self) -> None:
        """Write the good verdict."""
        self.outcome.code = Code.OK

    def failed(self, error: BaseException) -> None:
        """Write what went wrong; the exact reason is for operators only."""
        outcome = self.outcome
        if isinstance(error, asyncio.CancelledError):
            told = CANCELLED
            outcome.reason = "the caller went away"
        else:
            told = meaning(error)
            outcome.reason = error.reason if isinstance(error, SignerError) else f"bug: {type(error).__name__}"
        outcome.reason = outcome.reason[:MAX_REASON]
        outcome.code, outcome.citadel_error = told.code, told.citadel_error
        outcome.error = type(error).__name__
        if not isinstance(error, SignerError | asyncio.CancelledError):
            outcome.bug = error

    def finish(self) -> Outcome:
        """Stop the watch."""
        stage = self.outcome.stage
        self.to("done")
        self.outcome.stage = stage if self.outcome.code is not Code.OK else "done"
        self.outcome.seconds = self._lap - self._start
        return self.outcome
