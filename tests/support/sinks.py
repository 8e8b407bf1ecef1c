"""A line sink that keeps what it is given."""

from signer.observe.lines import LineSink


class ListSink(LineSink):
    """Keeps lines in a list; no thread, no descriptor."""

    def __init__(self) -> None:
        self.dropped = 0
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        """Keep one line."""
        self.lines.append(line)

    def close(self, timeout: float = 2.0) -> None:
        """Nothing to close."""
