"""What distribution tells of itself, as metrics."""

from signer.observe.metrics import Metrics


class DistributionMetrics:
    """A ``Tally`` of ``signer.trust.distribution.tally``."""

    def __init__(self, metrics: Metrics) -> None:
        self._namespaces = metrics.namespaces
        self._writes = metrics.writes

    def wrote(self, result: str) -> None:
        """Count one write."""
        self._writes.labels(result).inc()

    def namespaces(self, total: int, pending: int) -> None:
        """Show how many namespaces there are, and how many do not hold the roots yet."""
        self._namespaces.labels("total").set(total)
        self._namespaces.labels("pending").set(pending)
