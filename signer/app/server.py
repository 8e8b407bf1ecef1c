"""A whole server: its parts put together, started, drained and closed in the right order."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.app.build import Callers, build_backends, build_callers, build_router, build_source
from signer.app.reload import Reload
from signer.authn.development import DevelopmentIssuer
from signer.authz.own import OwnIdentity
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.ports import Backend, Clock
from signer.issue.admission import Admission
from signer.issue.pipeline import Parts, Pipeline
from signer.observe import gauges
from signer.observe.health import Health
from signer.observe.lines import LineSink
from signer.observe.metrics import Metrics
from signer.observe.recorder import Recorder
from signer.runtime.supervise import settle, supervise, unless
from signer.server.admin import Admin
from signer.server.listener import Listener, ListenerSettings
from signer.server.rpc import CallLimits, CertificateService
from signer.server.tls import credentials
from signer.trust import bundle as trust_bundle
from signer.trust import serving as trust_serving
from signer.trust.bundle import LiveBundle
from signer.trust.serving import Renewal, ServingCertificate

_log = logging.getLogger("istio_signer.app")
LISTENER_PART = "listener"
PARTS = (trust_bundle.PART, trust_serving.PART, LISTENER_PART)
# Kubernetes gives a pod 30 s; the whole end must fit well inside.
CLOSE_SECONDS = 3.0
START_SECONDS = 10.0


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
    admin: Admin
    backends: dict[str, Backend]
    callers: Callers
    reload: Reload


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
    """
    config, metrics, health = loaded.config, Metrics(), Health(PARTS)
    backends = build_backends(loaded, clock)
    bundle = LiveBundle(list(backends.values()), health)
    callers = await build_callers(config, clock, _counter(metrics), issuer)
    limits = config.limits
    admission = Admission(limits.in_flight, limits.waiting, limits.patience.total_seconds())
    parts = Parts(
        admission=admission,
        authenticator=callers.authenticator,
        authorizer=OwnIdentity(),
        router=build_router(config, backends),
        bundle=bundle,
        observer=Recorder(metrics, sinks.audit),
        clock=clock,
    )
    pipeline = Pipeline(parts)
    service = CertificateService(pipeline, CallLimits(limits.deadline.total_seconds()))
    listener = Listener(service, ListenerSettings(config.listen.grpc, limits.max_connection_age.total_seconds()))
    source = build_source(config, backends, bundle, clock)
    serving = ServingCertificate(source, clock, lambda renewal: _note_renewal(metrics, health, renewal))
    admin = Admin(health, lambda accept: _scrape(metrics, health, admission, accept))
    if issuer is not None:
        admin.add_token_endpoint(issuer.mint)
    _expiries(metrics, bundle, clock)
    metrics.lines(lambda: {"log": sinks.log.dropped, "audit": sinks.audit.dropped})
    reload = Reload(loaded, read_again, lambda fresh: pipeline.use(build_router(fresh, backends)))
    return Server(config, health, bundle, serving, listener, admin, backends, callers, reload)


def _counter(metrics: Metrics) -> Callable[[str], None]:
    """Count token verdicts by source, each label looked up once."""
    known: dict[str, Any] = {s: metrics.token_verdicts.labels(s) for s in ("fresh", "cached", "shared", "shape")}
    return lambda source: known[source].inc()


def _note_renewal(metrics: Metrics, health: Health, renewal: Renewal) -> None:
    gauges.show_serving(metrics, renewal.worked, renewal.pair.window[1] if renewal.pair else None, renewal.due)
    if renewal.worked:
        health.done(trust_serving.PART)


def _scrape(metrics: Metrics, health: Health, admission: Admission, accept: str) -> tuple[bytes, str]:
    metrics.in_flight.set(admission.in_flight)
    gauges.show_backends(metrics, health)
    return metrics.exposition(accept)


def _expiries(metrics: Metrics, bundle: LiveBundle, clock: Clock) -> None:
    def root_end() -> float | None:
        roots = bundle.current().roots
        return roots[0].not_valid_after_utc.timestamp() if roots else None

    def chain_end() -> float | None:
        ends = [info.chain[0].not_valid_after_utc.timestamp() for info in bundle.issuers().values() if info.chain]
        return min(ends, default=None)

    metrics.expiry("root", root_end, lambda: clock.now().timestamp())
    metrics.expiry("chain", chain_end, lambda: clock.now().timestamp())


async def serve(server: Server, stop: asyncio.Event, ready_file: Path | None = None) -> None:
    """Run until ``stop`` is set, then drain: unready first, then GOAWAY, then in flight, then everything else.

    Args:
        server: The parts.
        stop: Set by a signal.
        ready_file: Gets a JSON object with ``grpc_port``, ``http_port`` and ``pid`` once requests can come.

    Raises:
        ExceptionGroup: A root service ended or failed, or a port cannot be bound.
    """
    try:
        # Before anything that may wait: a slow backend must not look like a dead process.
        await _open_admin(server)
        await _ready_backends(server)
        await supervise(_services(server), _life(server, stop, ready_file))
    finally:
        await _close(server)


def _services(server: Server) -> dict[str, Coroutine[Any, Any, None]]:
    services = {f"backend-{name}": backend.run() for name, backend in server.backends.items()}
    return services | {
        "trust-bundle": server.bundle.run(),
        "serving-certificate": server.serving.run(),
        "configuration": server.reload.run(),
    }


async def _open_admin(server: Server) -> None:
    host, _, port = server.config.listen.http.rpartition(":")
    try:
        await server.admin.start(host.strip("[]"), int(port))
    except OSError as error:
        raise OSError(f"cannot listen on {server.config.listen.http}: {error.strerror}") from None


async def _ready_backends(server: Server) -> None:
    """Give every backend a first chance, side by side; one that fails keeps trying as a service."""
    try:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.gather(*(backend.start() for backend in server.backends.values()))
            await server.bundle.refresh()
    except TimeoutError:
        _log.warning("not every backend was ready within %.0f s", START_SECONDS)


async def _life(server: Server, stop: asyncio.Event, ready_file: Path | None) -> None:
    if await unless(stop, _start(server, ready_file)):
        await stop.wait()
        await _drain(server)


async def _start(server: Server, ready_file: Path | None) -> None:
    first = await server.serving.first()
    settle()
    await server.listener.start(credentials(server.serving, first))
    server.health.done(LISTENER_PART)
    if ready_file is not None:
        ports = {"grpc_port": server.listener.port, "http_port": server.admin.port, "pid": os.getpid()}
        partial = ready_file.with_name(ready_file.name + ".partial")
        partial.write_text(json.dumps(ports), encoding="ascii")
        partial.rename(ready_file)


async def _drain(server: Server) -> None:
    shutdown = server.config.shutdown
    server.health.drain()
    await server.listener.serving(False)
    await asyncio.sleep(shutdown.delay.total_seconds())
    # Whatever has come in by now is still served: a refusal here would cost a proxy a new connection and a retry.
    await server.listener.stop(shutdown.grace.total_seconds())
    _log.info("drained")


async def _close(server: Server) -> None:
    """Close everything, each thing within its time, whatever happened before."""
    closers = [server.admin.stop, *server.callers.closers, *(b.close for b in server.backends.values())]
    for close in closers:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await close()
        except (TimeoutError, OSError) as error:
            _log.warning("closing: %s", type(error).__name__)
