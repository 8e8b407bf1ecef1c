"""Questions to an API server that several callers share: each is asked once at a time, and not too many are."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from signer.kube.answer import ApiUnavailable

T = TypeVar("T")


class Asking(Generic[T]):
    """Questions under way, by key.

    Args:
        what: What is asked for, for reasons.
        limit: How many may be under way.
        busy: Makes of a reason what is raised when so many are.
        closed: Makes of a reason what is raised once asking has been stopped, also for who waits then.
    """

    def __init__(
        self,
        what: str,
        limit: int,
        busy: Callable[[str], Exception] = ApiUnavailable,
        closed: Callable[[str], Exception] = ApiUnavailable,
    ) -> None:
        self._what = what
        self._limit = limit
        self._busy = busy
        self._closed = closed
        self._stopped = False
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether somebody asks this now."""
        return key in self._under_way

    async def ask(self, key: Hashable, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask, or wait for whoever asks the same. A task of its own: its first asker may go away.

        Raises:
            Exception: The question's; what ``busy`` makes where too many are under way; what ``closed`` makes.
        """
        task = self._under_way.get(key) or self._start(key, question)
        # Unlike a shield, it tells the asker's own end from the question's: only the asker's comes out of it.
        await asyncio.wait((task,))
        if task.cancelled():
            raise self._given_up()
        return task.result()

    def _start(self, key: Hashable, question: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        if self._stopped:
            raise self._given_up()
        if len(self._under_way) >= self._limit:
            raise self._busy(f"{self._what}: {self._limit} questions are under way")
        task = asyncio.create_task(question(), name=f"ask-{self._what}")
        self._under_way[key] = task
        task.add_done_callback(lambda done: self._answered(key, done))
        return task

    def _given_up(self) -> Exception:
        return self._closed(f"{self._what}: closed, nothing is asked any more")

    def _answered(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            # Looked at even where every asker has gone away, lest the loop reports it as never retrieved.
            task.exception()

    async def close(self) -> None:
        """Give all of them up; none can be asked from now on."""
        self._stopped = True
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
