"""What the admin port shows of a server at work, read from its parts when somebody asks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from signer.app.callers import Callers
from signer.authz.deny import DenyService
from signer.core.ports import Clock
from signer.issue.admission import Admission
from signer.observe import gauges
from signer.observe.health import Health
from signer.observe.metrics import Metrics
from signer.trust import serving as trust_serving
from signer.trust.bundle import LiveBundle
from signer.trust.serving import Renewal


@dataclass(frozen=True, slots=True)
class Showing:
    """The parts that have something to show."""

    metrics: Metrics
    health: Health
    bundle: LiveBundle
    callers: Callers
    deny: DenyService | None
    admission: Admission

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """Give all metrics as they are now, with their content type, in a format that ``accept`` allows."""
        self.metrics.in_flight.set(self.admission.in_flight)
        gauges.show_backends(self.metrics, self.health)
        gauges.show_breakers(self.metrics, self.health)
        gauges.show_trust(self.metrics, len(self.bundle.current().roots), self.bundle.record.rotation)
        if self.deny is not None:
            gauges.show_deny(self.metrics, self.deny.entries(), self.deny.refused)
        self._watches()
        gauges.show_remote_clusters(self.metrics, self.callers.remotes())
        return self.metrics.exposition(accept)

    def _watches(self) -> None:
        """Cleared first: clusters of remote secrets go, and their last word must not stay."""
        self.metrics.watch_objects.clear()
        self.metrics.watch_stale.clear()
        for one in self.callers.followed():
            stale = one.collection.stale_for()
            gauges.show_watch(self.metrics, one.cluster, one.what, len(one.collection), stale)

    def expiries(self, clock: Clock) -> None:
        """Have the metrics say when the root and the signing chains end."""
        self.metrics.expiry("root", self._root_end, lambda: clock.now().timestamp())
        self.metrics.expiry("chain", self._chain_end, lambda: clock.now().timestamp())

    def _root_end(self) -> float | None:
        roots = self.bundle.current().roots
        return roots[0].not_valid_after_utc.timestamp() if roots else None

    def _chain_end(self) -> float | None:
        infos = self.bundle.issuers().values()
        return min((info.chain[0].not_valid_after_utc.timestamp() for info in infos if info.chain), default=None)


def verdict_counter(metrics: Metrics) -> Callable[[str], None]:
    """Count token verdicts by source, each label looked up once."""
    sources = ("fresh", "cached", "shared", "shape", "offline")
    known: dict[str, Any] = {source: metrics.token_verdicts.labels(source) for source in sources}
    return lambda source: known[source].inc()


def note_renewal(metrics: Metrics, health: Health, renewal: Renewal) -> None:
    """Show what came of renewing the serving certificate."""
    gauges.show_serving(metrics, renewal.worked, renewal.pair.window[1] if renewal.pair else None, renewal.due)
    if renewal.worked:
        health.done(trust_serving.PART)
