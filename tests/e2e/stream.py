"""CSRs without a pause, from the Go client, for as long as a block lasts."""

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.cluster.poll import until
from tests.goclient.run import GoClientError, LoadResult

BATCH = 150
JOIN_S = 150.0
PROGRESS_S = 60.0


class Stream:
    """A context manager with one thread that sends one load after the other.

    Read `sent`, `batches` and `failures` (by gRPC code) at any time; `error` is set where the client itself failed.
    """

    def __init__(self, send: Callable[[], LoadResult]) -> None:
        self._send = send
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self.batches = 0
        self.sent = 0
        self.failures: Counter[str] = Counter()
        self.first_error = ""
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(JOIN_S)

    def wait_for(self, batches: int = 1) -> None:
        """Return once so many more whole batches have been sent.

        Raises:
            TimeoutError: Not in time.
            GoClientError: The client could not run.
        """
        goal = self.batches + batches
        until(lambda: self.error or self.batches >= goal, deadline=PROGRESS_S, what=f"{batches} more batches")
        self.check()

    def check(self) -> None:
        """Raise where the client itself could not run."""
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._count(self._send())
            except (GoClientError, OSError) as error:
                self.error = error
                return

    def _count(self, result: LoadResult) -> None:
        self.sent += result["n"]
        self.failures.update(result["errors"])
        if result["warmup_errors"]:
            self.failures["warm-up"] += result["warmup_errors"]
        self.first_error = self.first_error or result["first_error"]
        self.batches += 1
