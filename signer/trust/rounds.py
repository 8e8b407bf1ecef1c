"""One piece of work for all who ask for it at once: never twice at a time, and never one that began before the asker.

Whoever asks while it runs shares the next run: what the asker has seen may be newer than what this run has read.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class _Round:
    """One run, and how many wait for it. Once it has begun, nobody may join any more."""

    def __init__(self) -> None:
        self.begun = False
        self.waiting = 0
        self.task: asyncio.Task[None]


class Rounds:
    """Runs the work.

    Args:
        work: What to do.
        pause: Seconds between the starts of two runs, where the second was asked for during the first.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, object]], pause: float) -> None:
        self._work = work
        self._pause = pause
        self._now: _Round | None = None
        self._next: _Round | None = None
        self._started = float("-inf")

    async def run(self) -> None:
        """Wait for a run that begins from now on; whatever the work raises is raised here.

        A run that nobody waits for any more is cancelled.
        """
        mine = self._joined()
        mine.waiting += 1
        try:
            await asyncio.shield(mine.task)
        finally:
            mine.waiting -= 1
            if not mine.waiting and not mine.task.done():
                await self._given_up(mine)

    def _joined(self) -> _Round:
        if self._now is None:
            self._now = self._made(None)
        elif self._now.begun:
            self._next = self._next or self._made(self._now.task)
            return self._next
        return self._now

    def _made(self, before: "asyncio.Task[None] | None") -> _Round:
        made = _Round()
        made.task = asyncio.create_task(self._run(made, before))
        made.task.add_done_callback(lambda _: self._done(made))
        return made

    async def _run(self, mine: _Round, before: "asyncio.Task[None] | None") -> None:
        loop = asyncio.get_running_loop()
        if before is not None:
            await asyncio.wait({before})
            await asyncio.sleep(self._started + self._pause - loop.time())
        mine.begun, self._started = True, loop.time()
        await self._work()

    def _done(self, ended: _Round) -> None:
        if ended is self._now:
            self._now, self._next = self._next, None
        elif ended is self._next:
            self._next = None

    async def _given_up(self, left: _Round) -> None:
        # Nobody may join what is being cancelled.
        left.begun = True
        if left is self._next:
            self._next = None
        left.task.cancel()
        await asyncio.wait({left.task})
