"""The gRPC listener: limits, keepalive, health, reflection, and how it ends."""

import asyncio
import logging
import random
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from signer.server.rpc import SERVICE, CertificateService

_log = logging.getLogger("istio_signer.listener")

MAX_MESSAGE_BYTES = 1024 * 1024
# Room for a token of 1 MiB: it is refused with the right code, where the library would answer "resource exhausted",
# which agents retry five-fold.
MAX_METADATA_BYTES = MAX_MESSAGE_BYTES + 256 * 1024
# Istio's agent and ztunnel ping every 30 s; istiod allows half of that (istio: pilot/pkg/bootstrap/server.go).
MIN_PING_INTERVAL_MS = 10_000


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What an operator may set.

    Attributes:
        address: ``host:port``; port 0 picks a free one.
        max_connection_age: Seconds after which a connection is told to go elsewhere; spreads load after a roll-out.
        max_streams: Calls at once on one connection.
        max_calls: Calls at once in all, those included whose message has not come yet.
    """

    address: str
    max_connection_age: float = 1800.0
    max_streams: int = 128
    max_calls: int = 4096


def options(settings: ListenerSettings) -> list[tuple[str, int]]:
    """The gRPC library's options for a listener (names: grpc's ``channel_arg_names.h``)."""
    # The library adds its own 10 % of jitter per connection; this one keeps replicas started together apart.
    age = settings.max_connection_age * random.uniform(0.9, 1.1)  # noqa: S311
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", settings.max_streams),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_connection_age_ms", int(age * 1000)),
        ("grpc.max_connection_age_grace_ms", 30_000),
        ("grpc.so_reuseport", 0),
        # For whoever opens a connection and says nothing.
        ("grpc.server_handshake_timeout_ms", 10_000),
        # It refuses streams that the limit above allows; what is too much is decided, and said, by admission.
        ("grpc.http.overload_protection", 0),
    ]


class Listener:
    """The gRPC server, its health service and its reflection."""

    def __init__(self, service: CertificateService, settings: ListenerSettings) -> None:
        self._settings = settings
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=options(settings), maximum_concurrent_rpcs=settings.max_calls)
        self._server.add_generic_rpc_handlers((service.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self.port = 0

    async def start(self, credentials: grpc.ServerCredentials) -> None:
        """Bind and serve.

        Raises:
            OSError: The address cannot be bound.
        """
        try:
            self.port = self._server.add_secure_port(self._settings.address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._settings.address}: {error}") from None
        await self.serving(False)
        await self._server.start()
        _log.info("serving %s on %s, port %d", SERVICE, self._settings.address, self.port)

    async def serving(self, ready: bool) -> None:
        """Tell gRPC health checks."""
        state = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)

    async def stop(self, grace: float) -> None:
        """Send GOAWAY, let calls in flight finish within ``grace`` seconds, then cut what is left."""
        await self._health.enter_graceful_shutdown()
        try:
            async with asyncio.timeout(grace + 2.0):
                await self._server.stop(grace)
        except TimeoutError:
            _log.error("the gRPC server did not stop within %.0f s", grace + 2.0)
