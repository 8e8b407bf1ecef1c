"""A tally that keeps what it is told."""

from signer.issue.tally import Result, Source


class Tallying:
    """Everything in order."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, Result]] = []
        self.failovers: list[tuple[str, str]] = []
        self.shared: list[Source] = []

    def attempt(self, backend: str, result: Result) -> None:
        """Keep it."""
        self.attempts.append((backend, result))

    def failover(self, source: str, target: str) -> None:
        """Keep it."""
        self.failovers.append((source, target))

    def coalesced(self, source: Source) -> None:
        """Keep it."""
        self.shared.append(source)

    @property
    def results(self) -> list[Result]:
        """Of attempts, whoever's."""
        return [result for _, result in self.attempts]
