"""Counts what happens on the way to the backends."""

from typing import Any

from signer.observe.metrics import Metrics


class SigningMetrics:
    """Looks each set of labels up once: that costs as much as the counting. Bounded as backends and results are."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._attempts: dict[tuple[str, str], Any] = {}
        self._coalesced = {s: metrics.coalesced.labels(s) for s in ("in_flight", "remembered")}

    def attempt(self, backend: str, result: str) -> None:
        """Count one attempt."""
        key = (backend, result)
        child = self._attempts.get(key)
        if child is None:
            child = self._attempts[key] = self._metrics.backend_attempts.labels(backend, result)
        child.inc()

    def failover(self, source: str, target: str) -> None:
        """Count one change to the next backend."""
        self._metrics.failovers.labels(source, target).inc()

    def coalesced(self, source: str) -> None:
        """Count one shared answer."""
        self._coalesced[source].inc()
