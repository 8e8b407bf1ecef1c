"""Every metric that this program has, in two tables.

``CITADEL`` are the names that Istio's dashboards and alerts read. Its counters carry no ``_total``, which a client
library's Counter would add, so they are exposed untyped under their exact names.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from signer import __version__
from signer.core.events import BackendEvent, BackendMoment, Meter


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One row: name, what it means, its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


CITADEL_COUNTERS: dict[str, MetricSpec] = {
    "csr": MetricSpec("citadel_server_csr_count", "CSRs received."),
    "authentication": MetricSpec(
        "citadel_server_authentication_failure_count", "Bad credentials and refused impersonations."
    ),
    "parsing": MetricSpec("citadel_server_csr_parsing_err_count", "CSRs that could not be parsed."),
    "identity": MetricSpec(
        "citadel_server_id_extraction_err_count", "CSRs whose names are not the identity granted to their sender."
    ),
    "signing": MetricSpec("citadel_server_csr_sign_err_count", "CSRs that could not be signed, by cause.", ("error",)),
    "success": MetricSpec("citadel_server_success_cert_issuance_count", "Certificates issued."),
}
CITADEL_GAUGES: dict[str, MetricSpec] = {
    "root_timestamp": MetricSpec(
        "citadel_server_root_cert_expiry_timestamp", "When the first root of the bundle ends, Unix seconds."
    ),
    "root_seconds": MetricSpec(
        "citadel_server_root_cert_expiry_seconds", "Seconds left to the first root of the bundle; negative once ended."
    ),
    "chain_timestamp": MetricSpec(
        "citadel_server_cert_chain_expiry_timestamp", "When the signing certificate ends, Unix seconds."
    ),
    "chain_seconds": MetricSpec(
        "citadel_server_cert_chain_expiry_seconds", "Seconds left to the signing certificate; negative once ended."
    ),
}
SIGN_ERRORS = ("CA_NOT_READY", "CSR_ERROR", "TTL_ERROR", "CERT_GEN_ERROR", "UNKNOWN")

OWN: dict[str, MetricSpec] = {
    "requests": MetricSpec(
        "istio_signer_requests_total",
        "Requests by gRPC code, failure (empty on success) and the backend they reached (empty: none).",
        ("code", "error", "backend"),
    ),
    "request_seconds": MetricSpec("istio_signer_request_seconds", "Wall time of requests.", ("code",)),
    "stage_seconds": MetricSpec(
        "istio_signer_stage_seconds",
        "Wall time of the stages that may wait for somebody else: authn, backend.",
        ("stage",),
    ),
    "in_flight": MetricSpec("istio_signer_in_flight", "Requests being worked on."),
    "backend_up": MetricSpec(
        "istio_signer_backend_up",
        "1 where the last look at the backend found nothing wrong; /readyz?verbose says what.",
        ("backend",),
    ),
    "issuer_expiry": MetricSpec(
        "istio_signer_issuer_expiry_timestamp_seconds", "When the backend's signing chain ends.", ("backend",)
    ),
    "serving_expiry": MetricSpec(
        "istio_signer_serving_certificate_expiry_timestamp_seconds", "When the serving certificate ends."
    ),
    "serving_renewal": MetricSpec(
        "istio_signer_serving_certificate_next_renewal_timestamp_seconds", "When the serving certificate is renewed."
    ),
    "serving_renewals": MetricSpec(
        "istio_signer_serving_certificate_renewals_total", "Renewals of the serving certificate.", ("result",)
    ),
    "istiod_expiry": MetricSpec(
        "istio_signer_istiod_certificate_expiry_timestamp_seconds",
        "When the certificate in istiod's Secret ends; told by the replica that leads.",
        ("secret",),
    ),
    "istiod_renewal": MetricSpec(
        "istio_signer_istiod_certificate_next_renewal_timestamp_seconds",
        "When the certificate in istiod's Secret is renewed; told by the replica that leads.",
        ("secret",),
    ),
    "istiod_renewals": MetricSpec(
        "istio_signer_istiod_certificate_renewals_total",
        "Renewals of istiod's certificate, and attempts to keep its Secret current that failed.",
        ("result",),
    ),
    "token_reviews": MetricSpec(
        "istio_signer_token_verdicts_total",
        "Tokens judged: fresh (API call), cached, shared (waited for a call under way), shape (refused unasked),"
        " offline (by the issuer's keys).",
        ("source",),
    ),
    "lines_dropped": MetricSpec("istio_signer_lines_dropped_total", "Lines lost to a stuck reader.", ("stream",)),
    "backend_events": MetricSpec(
        "istio_signer_backend_events_total",
        "Events in a backend's life, as listed in signer.core.events.",
        ("backend", "event"),
    ),
    "backend_moments": MetricSpec(
        "istio_signer_backend_moment_timestamp_seconds",
        "Moments in a backend's life, as listed in signer.core.events: next renewals, ends.",
        ("backend", "moment"),
    ),
    "breaker_state": MetricSpec(
        "istio_signer_breaker_state",
        "The backend's breaker: 0 closed, 1 half-open (one request tries the backend), 2 open.",
        ("backend",),
    ),
    "backend_attempts": MetricSpec(
        "istio_signer_backend_attempts_total",
        "Attempts at a backend by result: signed, refused, unavailable, timeout, bug, given_up (the caller's doing);"
        " without asking it: busy (a cap), open (the breaker).",
        ("backend", "result"),
    ),
    "failovers": MetricSpec(
        "istio_signer_failovers_total", "Requests that went on to the next backend of their route.", ("from", "to")
    ),
    "coalesced": MetricSpec(
        "istio_signer_coalesced_total",
        "Requests answered with the answer to the same request: in_flight, or remembered from the last minute.",
        ("source",),
    ),
    "leader": MetricSpec("istio_signer_leader", "1 where this replica does what only one of them may do."),
    "namespaces": MetricSpec(
        "istio_signer_distribution_namespaces",
        "Namespaces that are to hold the roots, by state: total, and pending (they do not yet). Told by the leader.",
        ("state",),
    ),
    "writes": MetricSpec(
        "istio_signer_distribution_writes_total",
        "ConfigMaps written, by result: written, conflict (somebody was faster), gone, refused, unavailable.",
        ("result",),
    ),
    "deny_entries": MetricSpec(
        "istio_signer_deny_entries", "Entries of the deny list in use, those that have ended included.", ("kind",)
    ),
    "deny_refused": MetricSpec(
        "istio_signer_deny_file_refused", "1 while the deny file cannot be used and the list from before it stays."
    ),
    "rotation": MetricSpec(
        "istio_signer_root_rotation_since_timestamp_seconds",
        "Since when the root rotation under way is in its phase; no sample where none is.",
        ("backend", "phase"),
    ),
    "bundle_roots": MetricSpec("istio_signer_trust_bundle_roots", "Roots that answers to everybody carry."),
    "watch_objects": MetricSpec(
        "istio_signer_watch_objects", "Objects of a cluster that are known from a watch.", ("cluster", "kind")
    ),
    "watch_stale": MetricSpec(
        "istio_signer_watch_stale_seconds",
        "For how long they have not been watched: 0 while the watch works.",
        ("cluster", "kind"),
    ),
    "remote_clusters": MetricSpec(
        "istio_signer_remote_cluster_ready",
        "Whether callers of a remote secret's cluster are judged by what the secret says now: 1, else 0.",
        ("cluster",),
    ),
    "clock_jumps": MetricSpec(
        "istio_signer_clock_jumps_total", "Times that the wall clock was seen to jump by more than 5 minutes."
    ),
    "build": MetricSpec("istio_signer_build_info", "Always 1.", ("version",)),
}

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CitadelCounters(Collector):
    """Counters under Istio's exact names."""

    def __init__(self) -> None:
        self._plain = dict.fromkeys((k for k in CITADEL_COUNTERS if k != "signing"), 0)
        self._signing = dict.fromkeys(SIGN_ERRORS, 0)

    def count(self, key: str) -> None:
        """Add one to a row of ``CITADEL_COUNTERS``."""
        self._plain[key] += 1

    def count_sign_error(self, error: str) -> None:
        """Add one to ``citadel_server_csr_sign_err_count`` with one of ``SIGN_ERRORS``."""
        self._signing[error] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the counters for a scrape."""
        for key, value in self._plain.items():
            yield _sample(CITADEL_COUNTERS[key], [({}, value)])
        yield _sample(CITADEL_COUNTERS["signing"], [({"error": e}, n) for e, n in self._signing.items()])


def _sample(spec: MetricSpec, values: Iterable[tuple[dict[str, str], float]]) -> Metric:
    metric = Metric(spec.name, spec.help, "unknown")
    for labels, value in values:
        metric.add_sample(spec.name, labels, value)
    return metric


class Metrics:
    """All metrics on one registry."""

    def __init__(self) -> None:
        # Without the time at which each series was born, which doubles their number and which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.citadel = CitadelCounters()
        self.registry.register(self.citadel)
        self.requests = self._counter("requests")
        self.request_seconds = self._histogram("request_seconds")
        self.stage_seconds = self._histogram("stage_seconds")
        self.in_flight = self._gauge("in_flight")
        self.backend_up = self._gauge("backend_up")
        self.issuer_expiry = self._gauge("issuer_expiry")
        self.serving_expiry = self._gauge("serving_expiry")
        self.serving_renewal = self._gauge("serving_renewal")
        self.serving_renewals = self._counter("serving_renewals")
        self.istiod_expiry = self._gauge("istiod_expiry")
        self.istiod_renewal = self._gauge("istiod_renewal")
        self.istiod_renewals = self._counter("istiod_renewals")
        self.token_verdicts = self._counter("token_reviews")
        self.backend_events = self._counter("backend_events")
        self.backend_moments = self._gauge("backend_moments")
        self.breaker_state = self._gauge("breaker_state")
        self.backend_attempts = self._counter("backend_attempts")
        self.failovers = self._counter("failovers")
        self.coalesced = self._counter("coalesced")
        self.leader = self._gauge("leader")
        self.namespaces = self._gauge("namespaces")
        self.writes = self._counter("writes")
        self.deny_entries = self._gauge("deny_entries")
        self.deny_refused = self._gauge("deny_refused")
        self.rotation = self._gauge("rotation")
        self.bundle_roots = self._gauge("bundle_roots")
        self.watch_objects = self._gauge("watch_objects")
        self.watch_stale = self._gauge("watch_stale")
        self.remote_clusters = self._gauge("remote_clusters")
        self.clock_jumps = self._counter("clock_jumps")
        self._gauge("build").labels(__version__).set(1)

    def meter(self, backend: str) -> Meter:
        """Make the meter of one backend; its counters are there, at zero, before anything happens."""
        return _BackendMeter(self, backend)

    def lines(self, dropped: Callable[[], dict[str, int]]) -> None:
        """Expose how many lines each stream has lost, read at each scrape."""
        self.registry.register(_Dropped(dropped))

    def expiry(self, prefix: str, end: Callable[[], float | None], now: Callable[[], float]) -> None:
        """Expose one of Istio's expiry pairs, computed at each scrape.

        Args:
            prefix: ``root`` or ``chain``.
            end: Gives the end in Unix seconds, or None while it is not known.
            now: Gives the time in Unix seconds.
        """
        self.registry.register(_Expiry(prefix, end, now))

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Render everything in the format that a scraper's ``Accept`` header asks for, with its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _counter(self, key: str) -> Counter:
        spec = OWN[key]
        return Counter(spec.name, spec.help, spec.labels, registry=self.registry)

    def _gauge(self, key: str) -> Gauge:
        spec = OWN[key]
        return Gauge(spec.name, spec.help, spec.labels, registry=self.registry)

    def _histogram(self, key: str) -> Histogram:
        spec = OWN[key]
        return Histogram(spec.name, spec.help, spec.labels, registry=self.registry, buckets=_BUCKETS)


class _BackendMeter:
    def __init__(self, metrics: Metrics, backend: str) -> None:
        self._backend = backend
        self._events = {event: metrics.backend_events.labels(backend, event.value) for event in BackendEvent}
        self._moments = metrics.backend_moments

    def count(self, event: BackendEvent) -> None:
        self._events[event].inc()

    def mark(self, moment: BackendMoment, at: datetime) -> None:
        self._moments.labels(self._backend, moment.value).set(at.timestamp())


class _Dropped(Collector):
    def __init__(self, dropped: Callable[[], dict[str, int]]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterator[Metric]:
        spec = OWN["lines_dropped"]
        metric = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
        for stream, count in self._dropped().items():
            metric.add_metric([stream], count)
        yield metric


class _Expiry(Collector):
    def __init__(self, prefix: str, end: Callable[[], float | None], now: Callable[[], float]) -> None:
        self._prefix, self._end, self._now = prefix, end, now

    def collect(self) -> Iterator[Metric]:
        end = self._end()
        if end is None:
            return
        yield _sample(CITADEL_GAUGES[f"{self._prefix}_timestamp"], [({}, end)])
        yield _sample(CITADEL_GAUGES[f"{self._prefix}_seconds"], [({}, end - self._now())])
