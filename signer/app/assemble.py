"""A whole server, put together of its parts."""

from collections.abc import Callable
from dataclasses import dataclass

from signer.app.build import build_backends, build_bundle, build_deny, build_source, shortest_default_ttl
from signer.app.callers import Callers, Memory, build_authenticator, build_callers
from signer.app.duties import Duties, Ground, build_duties
from signer.app.duties import parts as duty_parts
from signer.app.policing import Policing, build_quotas, build_rules
from signer.app.reload import Reload
from signer.app.routing import build_guards, build_router
from signer.app.showing import Showing, note_renewal, verdict_counter
from signer.authn.development import DevelopmentIssuer
from signer.authz.ambient import ForOthers
from signer.authz.deny import DenyService
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.ports import Backend, Clock
from signer.core.spiffe_bundle import document
from signer.issue.admission import Admission
from signer.issue.denials import NoDenials
from signer.issue.pipeline import Parts, Pipeline
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
from signer.trust.serving import ServingCertificate

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
    policing = Policing(build_router(config, guards), build_rules(config.rules), bundle.hangs_on_cluster)
    callers = await build_callers(config, clock, verdict_counter(metrics), issuer, policing.labels_needed)
    limits = config.limits
    health.add_notes(callers.notes)
    quotas = build_quotas(config.quotas, shortest_default_ttl(config), clock)
    memory = Memory.empty(clock)
    admission = Admission(limits.in_flight, limits.waiting, limits.patience.total_seconds())
    parts = Parts(
        admission=admission,
        authenticator=build_authenticator(config, callers, bundle.own, policing, memory),
        authorizer=ForOthers(callers.proxies, clock),
        router=policing.router,
        bundle=bundle,
        observer=Recorder(metrics, sinks.audit),
        clock=clock,
        tally=tally,
        deny=deny or NoDenials(),
        rules=policing.rules.fault,
        issued=memory.issued if config.listen.mtls else lambda _, __: None,
        quota=quotas.take if quotas else lambda _: None,
    )
    pipeline = Pipeline(parts)
    service = CertificateService(pipeline, CallLimits(limits.deadline.total_seconds()))
    listener = Listener(service, _listener_settings(config, config.listen.grpc))
    mtls = Listener(service, _listener_settings(config, config.listen.mtls)) if config.listen.mtls else None
    source = build_source(config, backends, bundle, clock)
    serving = ServingCertificate(source, clock, lambda renewal: note_renewal(metrics, health, renewal))
    showing = Showing(metrics, health, bundle, callers, deny, admission)
    admin = Admin(health, showing.scrape)
    if issuer is not None:
        admin.add_token_endpoint(issuer.mint)
    showing.expiries(clock)
    metrics.lines(lambda: {"log": sinks.log.dropped, "audit": sinks.audit.dropped})

    def use(fresh: Config) -> None:
        policing.router, policing.rules = build_router(fresh, guards), build_rules(fresh.rules)
        pipeline.use(policing.router, policing.rules.fault)

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
