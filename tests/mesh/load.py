"""A steady stream of requests, to show that nothing fails while certificates change."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.mesh.web import Reply

WAIT_S = 30.0


class ConstantLoad:
    """A context manager with one thread that sends at a bounded rate for a bounded time.

    Read `sent`, `failures` (one text each) and `serials` (how often the server saw which client certificate, by
    serial number) at any time.
    """

    def __init__(self, send: Callable[[], Reply], rate: float, seconds: float) -> None:
        self._send = send
        self._interval = 1.0 / rate
        self._seconds = seconds
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="constant-load", daemon=True)
        self.sent = 0
        self.failures: list[str] = []
        self.serials: Counter[int] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)

    def wait_for(self, more: int, seconds: float = WAIT_S) -> None:
        """Return when so many more requests have been answered, well or badly.

        Raises:
            TimeoutError: not within the seconds, or the load's own time is over.
        """
        with self._progress:
            goal = self.sent + more
            if not self._progress.wait_for(lambda: self.sent >= goal, seconds):
                raise TimeoutError(f"{goal - self.sent} of {more} requests missing after {seconds:g} s")

    def _run(self) -> None:
        end = time.monotonic() + self._seconds
        while not self._stop.is_set() and time.monotonic() < end:
            due = time.monotonic() + self._interval
            self._one()
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _one(self) -> None:
        try:
            reply = self._send()
        except (OSError, http.client.HTTPException) as error:
            self._count(failure=repr(error))
            return
        if reply.status == 200:
            self._count(serial=int(reply.headers["x-client-serial"], 16))
        else:
            self._count(failure=f"{reply.status}: {reply.body}")

    def _count(self, *, serial: int | None = None, failure: str | None = None) -> None:
        with self._progress:
            self.sent += 1
            if serial is not None:
                self.serials[serial] += 1
            if failure is not None:
                self.failures.append(failure)
            self._progress.notify_all()
