"""Whom the way to a backend tells what happens on it, for metrics."""

from typing import Literal, Protocol, TypeAlias

Result: TypeAlias = Literal["signed", "refused", "unavailable", "timeout", "busy", "open", "bug", "given_up"]
Source: TypeAlias = Literal["in_flight", "remembered"]


class Tally(Protocol):
    """Counts. Never raises, never blocks; every text comes from the configuration or from a closed set."""

    def attempt(self, backend: str, result: Result) -> None:
        """Count one attempt at a backend; ``busy`` and ``open`` did not reach it."""
        ...

    def failover(self, source: str, target: str) -> None:
        """Count one change to the next backend of a route."""
        ...

    def coalesced(self, source: Source) -> None:
        """Count one request that cost no backend call of its own."""
        ...


class NoTally:
    """Counts nothing, for whoever does not look."""

    def attempt(self, backend: str, result: Result) -> None:
        """Drop it."""

    def failover(self, source: str, target: str) -> None:
        """Drop it."""

    def coalesced(self, source: Source) -> None:
        """Drop it."""
