"""What distribution tells of itself, for metrics: the closed set of results of a write."""

from typing import Protocol

RESULTS = ("written", "conflict", "gone", "refused", "unavailable")


class Tally(Protocol):
    """Where distribution is counted. Never raises, never blocks."""

    def wrote(self, result: str) -> None:
        """One write; ``result`` is one of ``RESULTS``."""
        ...

    def namespaces(self, total: int, pending: int) -> None:
        """How many namespaces are to hold roots, and how many of them do not yet."""
        ...


class NoTally:
    """Counts nothing, for whoever does not look."""

    def wrote(self, result: str) -> None:
        """Drop it."""

    def namespaces(self, total: int, pending: int) -> None:
        """Drop it."""
