"""An event loop in a thread of its own, so that servers run beside tests that block."""

import asyncio
import threading
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import uvloop

from tests.cluster.poll import until

Result = TypeVar("Result")
OWNER: ContextVar[str] = ContextVar("OWNER", default="")
_owners: WeakKeyDictionary[asyncio.Task[Any], str] = WeakKeyDictionary()
LIMIT = 30.0
"""Seconds for one piece of work, slow machine included."""


class LoopThread:
    """Runs coroutines for blocking tests. All servers share one loop, since grpcio serves one loop a process well."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.loop.set_task_factory(_make_task)
        self._thread = threading.Thread(target=self._work, name="server-loop")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), "the loop's thread did not end"

    def run(self, work: Coroutine[Any, Any, Result], limit: float = LIMIT) -> Result:
        """Run on the loop and wait for the result.

        Raises:
            TimeoutError: It did not end within ``limit`` seconds; it has been cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(limit)
        except TimeoutError:
            future.cancel()
            raise

    def assert_idle(self, owner: str) -> None:
        """Fail if a task of ``owner`` is left over once what ended has had a moment to go."""
        left: list[str] = []

        def idle() -> bool:
            left[:] = self.run(_tasks_of(owner))
            return not left

        try:
            until(idle, deadline=5.0, what="tasks to end")
        except TimeoutError:
            raise AssertionError(f"tasks left over: {left}") from None

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
    """Note whose task it is: contexts are inherited, so a server's tasks are those of all that it starts."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    _owners[task] = OWNER.get()
    return task


async def _tasks_of(owner: str) -> list[str]:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return [str(task) for task in others if _owners.get(task) == owner and not task.done()]
