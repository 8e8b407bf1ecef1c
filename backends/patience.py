"""Blocking work that may never end, as on a volume that hangs: in a daemon thread, given up after a while.

Not the event loop's own pool: its threads are joined when the process ends, and one that hangs would keep it alive.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Hanging(Exception):
    """The work did not end in time, that of the last call still has not, or no thread can be had for it."""


class PatientThread:
    """Does one thing at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._busy = False

    async def do(self, work: Callable[[], T]) -> T:
        """Do the work; whatever it raises is raised here.

        Raises:
            Hanging: It takes too long. It may still end later, and nobody will look.
        """
        if self._busy:
            raise Hanging(f"still no end after {self._seconds:.0f} s and more")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        try:
            threading.Thread(target=self._run, args=(work, loop, done), name="patient", daemon=True).start()
        except RuntimeError:
            raise Hanging("no thread can be started: is there a limit on processes (pids)?") from None
        # Only now, or a thread that was never there would be waited for; its end is noted by the loop, so later.
        self._busy = True
        try:
            async with asyncio.timeout(self._seconds):
                return await done
        except TimeoutError:
            raise Hanging(f"no end within {self._seconds:.0f} s") from None

    def _run(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop, done: "asyncio.Future[T]") -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  handed over to whoever waits
            failure = error

        def hand_over() -> None:
            self._busy = False
            if done.cancelled():
                return
            if failure is not None:
                done.set_exception(failure)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # None only where the work gives None

        # Where the loop is closed the process is ending, and nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(hand_over)
