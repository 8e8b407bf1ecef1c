"""The same question asked again, while it is being answered or shortly after, costs one answer.

An agent that gets no answer in time asks again with the same CSR, up to five times. What makes two questions the same
is the key, and that is the asker's business: it must hold everything that the answer depends on, who asks included.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from signer.core.ports import Clock

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
MAX_REMEMBERED = 10_000


class Work(Protocol[T_co]):
    """What gives an answer; run once."""

    def run(self) -> Coroutine[Any, Any, T_co]:
        """Give it."""
        ...


W = TypeVar("W", bound=Work[Any])


class Flight(Generic[W, T]):
    """One answer under way. It is a task of its own: the first asker may go away, the others must not notice."""

    def __init__(self, work: W, run: Coroutine[Any, Any, T], landed: Callable[["Flight[W, T]"], None]) -> None:
        self.work = work
        self.askers = 0
        self._traceback: TracebackType | None = None
        self._landed = landed
        self._task = asyncio.create_task(run, name="sign")
        self._task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[T]") -> None:
        # Looked at even where every asker has gone away, lest the loop reports it as never retrieved.
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._traceback = error.__traceback__
        if task.cancelled() or error is not None:
            self._landed(self)

    async def answer(self) -> T:
        """Wait for the answer.

        Raises:
            Exception: The work's, to each asker with the work's own frames: they must not pile up on a shared object.
        """
        try:
            return await asyncio.shield(self._task)
        except Exception as error:
            error.__traceback__ = self._traceback
            raise

    def stop(self) -> None:
        """Cancel the work, if it is not done."""
        self._task.cancel()


@dataclass(frozen=True, slots=True)
class _Memory(Generic[T]):
    answer: T
    until: float


class Coalescer(Generic[W, T]):
    """Answers under way, and those of the last minute, by key.

    Args:
        clock: Its monotonic hand says how long answers are remembered.
        size: How many are remembered; the oldest go first.
    """

    def __init__(self, clock: Clock, size: int = MAX_REMEMBERED) -> None:
        self._clock = clock
        self._size = size
        self._flights: dict[Hashable, Flight[W, T]] = {}
        self._memories: OrderedDict[Hashable, _Memory[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._memories)

    def recall(self, key: Hashable) -> T | None:
        """Give the answer of a moment ago, if there is one."""
        memory = self._memories.get(key)
        if memory is None:
            return None
        if memory.until <= self._clock.monotonic():
            del self._memories[key]
            return None
        return memory.answer

    def remember(self, key: Hashable, answer: T, seconds: float) -> None:
        """Keep an answer that has proven good."""
        now = self._clock.monotonic()
        self._forget_old(now)
        self._memories[key] = _Memory(answer, now + seconds)
        if len(self._memories) > self._size:
            self._memories.popitem(last=False)

    def _forget_old(self, now: float) -> None:
        """Drop what has ended from the old end; what hides behind a longer-lived one is bounded by ``size``."""
        while self._memories:
            key = next(iter(self._memories))
            if self._memories[key].until > now:
                return
            del self._memories[key]

    def forget(self, key: Hashable) -> None:
        """Drop one answer."""
        self._memories.pop(key, None)

    def clear(self) -> None:
        """Drop every answer."""
        self._memories.clear()

    @contextmanager
    def flight(self, key: Hashable, start: Callable[[], W]) -> Iterator[tuple[Flight[W, T], bool]]:
        """Join the flight of this key, or start one; tells whether it was joined.

        It can be joined until the last asker has left the block, so that an answer can be remembered before anybody
        starts anew. Work that nobody waits for any more is cancelled.
        """
        flight = self._flights.get(key)
        joined = flight is not None
        if flight is None:
            flight = self._start(key, start())
        flight.askers += 1
        try:
            yield flight, joined
        finally:
            flight.askers -= 1
            if not flight.askers:
                flight.stop()
                self._land(key, flight)

    def _start(self, key: Hashable, work: W) -> Flight[W, T]:
        flight: Flight[W, T] = Flight(work, work.run(), lambda done: self._land(key, done))
        self._flights[key] = flight
        return flight

    def _land(self, key: Hashable, flight: Flight[W, T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
