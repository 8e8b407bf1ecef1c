"""The log and the audit of servers under test, as files that tests read."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from signer.app.assemble import Sinks
from signer.observe.lines import LineSink
from signer.observe.logs import ROOT, JsonFormatter, SinkHandler
from tests.cluster.poll import until

LIMIT = 5.0
"""Seconds for a line to reach its file; a thread writes it within milliseconds."""


class Counting(LineSink):
    """Knows how many lines it was given."""

    def __init__(self, target: str) -> None:
        self.given = 0
        super().__init__(target)

    def write(self, line: str) -> None:
        """Count and queue one line."""
        self.given += 1
        super().write(line)


class Lines:
    """One file of JSON lines that only grows."""

    def __init__(self, path: Path, sink: Counting) -> None:
        self.path = path
        self._sink = sink
        self._arrived, self._read = 0, 0

    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    def size(self) -> int:
        """A mark: what is written from now on comes after it."""
        given = self._sink.given
        until(lambda: self._count() >= given, deadline=LIMIT, what="all lines to be written", interval=0.002)
        return self.path.stat().st_size

    def _count(self) -> int:
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        self._arrived += new.count(b"\n")
        return self._arrived

    def since(self, mark: int) -> list[dict[str, Any]]:
        """The whole lines after a mark."""
        with self.path.open("rb") as file:
            file.seek(mark)
            data = file.read()
        return [json.loads(line) for line in data.splitlines(keepends=True) if line.endswith(b"\n")]

    def await_line(
        self, wanted: Callable[[dict[str, Any]], bool], mark: int = 0, limit: float = LIMIT
    ) -> dict[str, Any]:
        """Wait for a line after a mark, and return it.

        Raises:
            TimeoutError: There is none within ``limit`` seconds.
        """
        found = until(
            lambda: [line for line in self.since(mark) if wanted(line)],
            deadline=limit,
            what=f"a line in {self.path}",
            interval=0.005,
        )
        return found[0]

    def await_message(self, fragment: str, mark: int = 0) -> dict[str, Any]:
        """Wait for a log line whose message holds a text."""
        return self.await_line(lambda line: fragment in str(line.get("message", "")), mark)


@contextmanager
def captured(directory: Path) -> Iterator[tuple[Sinks, Lines, Lines]]:
    """Sinks into files of a directory: log (of this process, while it lasts) and audit."""
    log, audit = directory / "log.jsonl", directory / "audit.jsonl"
    log_sink, audit_sink = Counting(str(log)), Counting(str(audit))
    handler = SinkHandler(log_sink)
    handler.setFormatter(JsonFormatter())
    root, own = logging.getLogger(), logging.getLogger(ROOT)
    level = own.level
    root.addHandler(handler)
    own.setLevel(logging.DEBUG)
    try:
        yield Sinks(log_sink, audit_sink), Lines(log, log_sink), Lines(audit, audit_sink)
    finally:
        own.setLevel(level)
        root.removeHandler(handler)
        log_sink.close()
        audit_sink.close()
