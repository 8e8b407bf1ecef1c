"""A whole server, put together of its parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from signer.app.build import build_backends, build_bundle, build_deny, build_source, shortest_default_ttl
from signer.app.callers import Callers, build_authenticator, build_callers
from signer.app.duties import Duties, Ground, build_duties
from signer.app.duties import parts as duty_parts
from signer.app.policing import build_quotas, build_rules
from signer.app.reload import Reload
from signer.app.routing import build_guards, build_router
from signer.authn.development import DevelopmentIssuer
from signer.authn.origins import Origins
from signer.authz.ambient import ForOthers
from signer.authz.deny import DenyService
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.ports import Backend, Clock
from signer.core.spiffe_bundle import document
from signer.issue.admission import Admission
from signer.issue.denials import NoDenials
from signer.issue.pipeline import Parts, Pipeline
from signer.observe import gauges
from signer.observe.clock_watch import ClockWatch
from signer.observe.health import Health
from signer.observe.lines import LineSink
from signer.observe.metrics import Metrics
from signer.observe.recorder import Recorder
from signer.observe.signing import SigningMetrics
from signer.server.admin import Admin
from signer.server.listener import Listener, ListenerSettings
from signer.server.rpc import CallLimits, CertificateService
from signer.trust import bundle as trust_bundle
from signer.trust import serving as trust_serving
from signer.trust.bundle import LiveBundle
from signer.trust.serving import Renewal, ServingCertificate

LISTENER_PART = "listener"
PARTS = (trust_bundle.PART, trust_serving.PART, LISTENER_PART)


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where lines go."""

    log: LineSink
    audit: LineSink


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of a server that live as long as the process."""

    config: Config
    health: Health
    bundle: LiveBundle
    serving: ServingCertificate
    listener: Listener
    mtls: Listener | None
    admin: Admin
    backends: dict[str, Backend]
    callers: Callers
    deny: DenyService | None
    reload: Reload
    duties: Duties
    clock_watch: ClockWatch

    @property
    def listeners(self) -> list[Listener]:
        """The gRPC listeners."""
        return [self.listener] if self.mtls is None else [self.listener, self.mtls]


async def assemble(
    loaded: Loaded,
    clock: Clock,
    sinks: Sinks,
    issuer: DevelopmentIssuer | None = None,
    read_again: Callable[[], Loaded | None] = lambda: None,
) -> Server:
    """Put a server together; nothing listens and no backend works yet.

    Args:
        loaded: The configuration.
        read_again: Reads the configuration anew; None means that it has not changed.
        clock: Time.
        sinks: For log and audit.
        issuer: Judges tokens instead of any API server, and hands them out on the admin port.

    Raises:
        NoCluster: A cluster has no usable connection configuration.
        DenyFileUnusable: There is a deny file, and it cannot be used.
    """
    # Before anything that must be closed again.
    deny = await build_deny(loaded.config, clock)
    config, metrics, health = loaded.config, Metrics(), Health((*PARTS, *duty_parts(loaded.config)))
    backends = build_backends(loaded, clock, metrics.meter)
    bundle = build_bundle(config, backends, health, clock)
    tally = SigningMetrics(metrics)
    guards = build_guards(config, backends, clock, tally)
    health.watch_breakers(lambda: {name: guarded.view() for name, guarded in guards.items()})
    callers = await build_callers(config, clock, _counter(metrics), issuer, lambda: pipeline.router.needs_pod_labels)
    limits = config.limits
    health.add_notes(callers.notes)
    quotas = build_quotas(config.quotas, shortest_default_ttl(config), clock)
    origins = Origins()
    admission = Admission(limits.in_flight, limits.waiting, limits.patience.total_seconds())
    parts = Parts(
        admission=admission,
        authenticator=build_authenticator(config, callers, bundle, clock, origins),
        authorizer=ForOthers(callers.proxies, clock),
        router=build_router(config, guards),
        bundle=bundle,
        observer=Recorder(metrics, sinks.audit),
        clock=clock,
        tally=tally,
        deny=deny or NoDenials(),
        rules=build_rules(config.rules).fault,
        issued=origins.issued if config.listen.mtls else lambda _, __: None,
        quota=quotas.take if quotas else lambda _: None,
    )
    pipeline = Pipeline(parts)
    service = CertificateService(pipeline, CallLimits(limits.deadline.total_seconds()))
    listener = Listener(service, _listener_settings(config, config.listen.grpc))
    mtls = Listener(service, _listener_settings(config, config.listen.mtls)) if config.listen.mtls else None
    source = build_source(config, backends, bundle, clock)
    serving = ServingCertificate(source, clock, lambda renewal: _note_renewal(metrics, health, renewal))
    shown: list[Callable[[], None]] = [
        lambda: metrics.in_flight.set(admission.in_flight),
        lambda: gauges.show_backends(metrics, health),
        lambda: gauges.show_breakers(metrics, health),
        lambda: gauges.show_trust(metrics, len(bundle.current().roots), bundle.record.rotation),
    ]
    shown.append(lambda: _show_watches(metrics, callers))
    if deny is not None:
        shown.append(lambda: gauges.show_deny(metrics, deny.entries(), deny.refused))
    admin = Admin(health, lambda accept: _scrape(metrics, shown, accept))
    if issuer is not None:
        admin.add_token_endpoint(issuer.mint)
    _expiries(metrics, bundle, clock)
    metrics.lines(lambda: {"log": sinks.log.dropped, "audit": sinks.audit.dropped})

    def use(fresh: Config) -> None:
        pipeline.use(build_router(fresh, guards), build_rules(fresh.rules).fault)

    reload = Reload(loaded, read_again, use)
    admin.add_bundle_endpoint(lambda: document(bundle.current()))
    duties = await build_duties(Ground(config, bundle, backends, clock, metrics, health))
    watch = ClockWatch(clock, lambda _: metrics.clock_jumps.inc())
    return Server(
        config, health, bundle, serving, listener, mtls, admin, backends, callers, deny, reload, duties, watch
    )


def _listener_settings(config: Config, address: str) -> ListenerSettings:
    limits = config.limits
    # Room beside those that work or wait: health checks, reflection, calls whose message is on its way.
    calls = limits.in_flight + limits.waiting + 256
    return ListenerSettings(address, limits.max_connection_age.total_seconds(), max_calls=calls)


def _counter(metrics: Metrics) -> Callable[[str], None]:
    """Count token verdicts by source, each label looked up once."""
    known: dict[str, Any] = {
        s: metrics.token_verdicts.labels(s) for s in ("fresh", "cached", "shared", "shape", "offline")
    }
    return lambda source: known[source].inc()


def _note_renewal(metrics: Metrics, health: Health, renewal: Renewal) -> None:
    gauges.show_serving(metrics, renewal.worked, renewal.pair.window[1] if renewal.pair else None, renewal.due)
    if renewal.worked:
        health.done(trust_serving.PART)


def _scrape(metrics: Metrics, shown: Sequence[Callable[[], None]], accept: str) -> tuple[bytes, str]:
    for show in shown:
        show()
    return metrics.exposition(accept)


def _show_watches(metrics: Metrics, callers: Callers) -> None:
    """Cleared first: clusters of remote secrets go, and their last word must not stay."""
    metrics.watch_objects.clear()
    metrics.watch_stale.clear()
    for one in callers.followed():
        gauges.show_watch(metrics, one.cluster, one.what, len(one.collection), one.collection.stale_for())


def _expiries(metrics: Metrics, bundle: LiveBundle, clock: Clock) -> None:
    def root_end() -> float | None:
        roots = bundle.current().roots
        return roots[0].not_valid_after_utc.timestamp() if roots else None

    def chain_end() -> float | None:
        ends = [info.chain[0].not_valid_after_utc.timestamp() for info in bundle.issuers().values() if info.chain]
        return min(ends, default=None)

    metrics.expiry("root", root_end, lambda: clock.now().timestamp())
    metrics.expiry("chain", chain_end, lambda: clock.now().timestamp())
