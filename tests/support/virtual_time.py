"""An event loop whose time passes at once: it never waits, it moves its hands to the next timer."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tests.support.clock import NOW

T = TypeVar("T")


class _Impatient(selectors.DefaultSelector):
    """Lets time pass instead of waiting; there is nothing to wait for but timers."""

    def __init__(self, passing: Callable[[float], None]) -> None:
        super().__init__()
        self._passing = passing

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits for somebody else: a deadlock")
        self._passing(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above."""

    def __init__(self) -> None:
        self._moment = 1000.0
        super().__init__(_Impatient(self._pass))

    def _pass(self, seconds: float) -> None:
        self._moment += seconds

    def time(self) -> float:
        """The loop's hands."""
        return self._moment


class LoopClock:
    """A clock that goes with a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """The wall clock."""
        return NOW + timedelta(seconds=self._loop.time() - 1000.0)

    def monotonic(self) -> float:
        """The clock of deadlines."""
        return self._loop.time()


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on a loop of its own, which must have nothing left to do at the end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
