"""Gauges that are looked up when somebody scrapes, instead of being kept up to date all the time."""

from collections.abc import Mapping
from datetime import datetime

from signer.core.rotation import Rotation
from signer.observe.health import Health
from signer.observe.metrics import Metrics


def show_backends(metrics: Metrics, health: Health) -> None:
    """Write the last known state of every backend."""
    for name, state in health.backends().items():
        metrics.backend_up.labels(name).set(1 if state.up else 0)
        if state.not_after is not None:
            metrics.issuer_expiry.labels(name).set(state.not_after)


def show_trust(metrics: Metrics, roots: int, rotation: Rotation | None) -> None:
    """Write how many roots are trusted, and where the rotation under way stands."""
    metrics.bundle_roots.set(roots)
    metrics.rotation.clear()
    if rotation is not None and not rotation.over:
        metrics.rotation.labels(rotation.backend, rotation.phase.value).set(rotation.since.timestamp())


def show_breakers(metrics: Metrics, health: Health) -> None:
    """Write the state of every backend's breaker."""
    for name, breaker in health.breakers().items():
        metrics.breaker_state.labels(name).set(breaker.state)


def show_watch(metrics: Metrics, cluster: str, kind: str, objects: int, stale: float) -> None:
    """Write what a watch of one cluster knows, and for how long it has been broken, in seconds."""
    metrics.watch_objects.labels(cluster, kind).set(objects)
    metrics.watch_stale.labels(cluster, kind).set(stale)


def show_remote_clusters(metrics: Metrics, ready: Mapping[str, bool]) -> None:
    """Write which clusters of remote secrets are ready. Cleared first: what is gone must not stay."""
    metrics.remote_clusters.clear()
    for cluster, well in ready.items():
        metrics.remote_clusters.labels(cluster).set(1 if well else 0)


def show_deny(metrics: Metrics, entries: Mapping[str, int], refused: bool) -> None:
    """Write how long the deny list is, by kind, and whether a newer one is refused."""
    for kind, count in entries.items():
        metrics.deny_entries.labels(kind).set(count)
    metrics.deny_refused.set(1 if refused else 0)


def show_serving(metrics: Metrics, worked: bool, end: datetime | None, due: datetime | None) -> None:
    """Write what the last renewal of the serving certificate led to."""
    metrics.serving_renewals.labels("success" if worked else "failure").inc()
    if end is not None:
        metrics.serving_expiry.set(end.timestamp())
    if due is not None:
        metrics.serving_renewal.set(due.timestamp())


def show_istiod(metrics: Metrics, secret: str, result: str | None, end: datetime | None, due: datetime | None) -> None:
    """Write what the last look at istiod's Secret led to. A moment that is not known, as by a replica that does not
    lead, is no sample at all: any number would be taken for a certificate's end."""
    if result is not None:
        metrics.istiod_renewals.labels(result).inc()
    for gauge, moment in ((metrics.istiod_expiry, end), (metrics.istiod_renewal, due)):
        if moment is None:
            gauge.clear()
        else:
            gauge.labels(secret).set(moment.timestamp())
