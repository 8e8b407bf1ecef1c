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
    """

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._limit = limit
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}

    async def ask(self, key: Hashable, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask, or wait for whoever asks the same. A task of its own: its first asker may go away.

        Raises:
            ApiUnavailable: Too many questions are under way, or asking has been stopped.
            Exception: The question's.
        """
        task = self._under_way.get(key) or self._start(key, question)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            # Not the asker has gone away, but the question was given up.
            raise ApiUnavailable(f"{self._what}: the connection was closed") from None

    def _start(self, key: Hashable, question: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        if len(self._under_way) >= self._limit:
            raise ApiUnavailable(f"{self._what}: {self._limit} questions are under way")
        task = asyncio.create_task(question(), name=f"ask-{self._what}")
        self._under_way[key] = task
        task.add_done_callback(lambda done: self._answered(key, done))
        return task

    def _answered(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            # Looked at even where every asker has gone away, lest the loop reports it as never retrieved.
            task.exception()

    async def close(self) -> None:
        """Give all of them up."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
