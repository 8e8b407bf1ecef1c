"""The life of a server: started, drained and closed in the right order."""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from signer.app.assemble import LISTENER_PART, Server
from signer.app.background import keep_running
from signer.app.duties import RECORD_PART
from signer.app.one_cluster import all_set
from signer.core.ports import Backend
from signer.observe.logs import frames_of
from signer.runtime.supervise import settle, supervise, unless
from signer.server.tls import client_credentials, credentials

_log = logging.getLogger("istio_signer.app")
# Kubernetes gives a pod 30 s; the whole end must fit well inside.
CLOSE_SECONDS = 3.0
START_SECONDS = 10.0


async def serve(server: Server, stop: asyncio.Event, ready_file: Path | None = None) -> None:
    """Run until ``stop`` is set, then drain: unready first, then GOAWAY, then in flight, then everything else.

    Args:
        server: The parts.
        stop: Set by a signal.
        ready_file: Gets a JSON object with ``grpc_port``, ``http_port``, ``pid`` and, with ``listen.mtls``,
            ``mtls_port`` once requests can come.

    Raises:
        ExceptionGroup: A root service ended or failed, or a port cannot be bound.
    """
    try:
        settle()
        # Before anything that may wait: a slow backend must not look like a dead process.
        await _open_admin(server)
        await server.bundle.start()
        await _ready_backends(server)
        await supervise(_services(server), _life(server, stop, ready_file))
    finally:
        await _close(server)


def _services(server: Server) -> dict[str, Coroutine[Any, Any, None]]:
    services = {
        f"backend-{name}": keep_running(f"backend {name}", backend.run) for name, backend in server.backends.items()
    }
    if server.deny is not None:
        services["deny-list"] = server.deny.run()
    services |= {name: run() for name, run in (*server.duties.services.items(), *server.callers.services.items())}
    return services | {
        "settle": _settle_when_synced(server.callers.synced),
        "trust-bundle": server.bundle.run(),
        "serving-certificate": server.serving.run(),
        "configuration": server.reload.run(),
        "grpc-health": _mirror_readiness(server),
        "clock-watch": server.clock_watch.run(),
    }


async def _mirror_readiness(server: Server) -> None:
    """Have gRPC health say what ``/readyz`` says."""
    changed = asyncio.Event()
    server.health.on_change(lambda _: changed.set())
    while True:
        for listener in server.listeners:
            await listener.serving(server.health.ready)
        await changed.wait()
        changed.clear()


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
            await asyncio.gather(*(_start_backend(backend) for backend in server.backends.values()))
            await server.bundle.refresh()
    except TimeoutError:
        _log.warning("not every backend was ready within %.0f s", START_SECONDS)


async def _start_backend(backend: Backend) -> None:
    """A fault in one backend must not keep the others from signing."""
    try:
        await backend.start()
    except Exception as error:  # noqa: BLE001  whatever it is, it is that backend's
        frames = frames_of(error)
        _log.error("backend %s: bug in start: %s\n%s", backend.name, type(error).__name__, frames)


async def _life(server: Server, stop: asyncio.Event, ready_file: Path | None) -> None:
    if await unless(stop, _start(server, ready_file)):
        await stop.wait()
        await _drain(server)


async def _start(server: Server, ready_file: Path | None) -> None:
    first = await server.serving.first()
    if server.duties.remembered is not None:
        # Without what the others know, our answers might lack a root that they have promised to everybody.
        await server.duties.remembered.wait()
        server.health.done(RECORD_PART)
    await _synced(server.callers.synced)
    await server.listener.start(credentials(server.serving, first))
    if server.mtls is not None:
        await server.mtls.start(client_credentials(server.serving, first, lambda: server.bundle.own().pem.encode()))
    server.health.done(LISTENER_PART)
    if ready_file is not None:
        ports = {"grpc_port": server.listener.port, "http_port": server.admin.port, "pid": os.getpid()}
        ports |= {"mtls_port": server.mtls.port} if server.mtls else {}
        partial = ready_file.with_name(ready_file.name + ".partial")
        partial.write_text(json.dumps(ports), encoding="ascii")
        partial.rename(ready_file)


async def _synced(known: Sequence[asyncio.Event]) -> None:
    """Let the watches of clusters bring what there is, for a while: one that is down must not keep the others from
    being served, and its own callers are told to come back."""
    if not await all_set(known, START_SECONDS):
        _log.warning("not every cluster could be watched within %.0f s; see /readyz?verbose", START_SECONDS)


async def _settle_when_synced(known: Sequence[asyncio.Event]) -> None:
    """Take what the clusters hold out of the collector's sight: a look at all of it stalls every request."""
    for event in known:
        await event.wait()
    settle()
    await asyncio.Event().wait()


async def _drain(server: Server) -> None:
    shutdown = server.config.shutdown
    server.health.drain()
    for listener in server.listeners:
        await listener.serving(False)
    await asyncio.sleep(shutdown.delay.total_seconds())
    # Whatever has come in by now is still served: a refusal here would cost a proxy a new connection and a retry.
    await _stop_listeners(server, shutdown.grace.total_seconds())
    _log.info("drained")


async def _close(server: Server) -> None:
    """Close everything side by side, within a few seconds, whatever happened before."""
    closers = [
        server.admin.stop,
        server.duties.close,
        *server.callers.closers,
        *(b.close for b in server.backends.values()),
    ]
    # Stopped already after a drain; not so where a service has failed, and then calls get a GOAWAY at least.
    await _stop_listeners(server, 0.0)
    await asyncio.gather(*map(_close_one, closers))


async def _stop_listeners(server: Server, grace: float) -> None:
    """Side by side, so that the whole takes no longer than one."""
    await asyncio.gather(*(listener.stop(grace) for listener in server.listeners))


async def _close_one(close: Callable[[], Awaitable[Any]]) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await close()
    except Exception as error:  # noqa: BLE001  the others must be closed too
        _log.warning("closing: %s", type(error).__name__)
