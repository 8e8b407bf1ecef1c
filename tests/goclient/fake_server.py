"""A CA in name only: real gRPC and TLS by grpcio, answers by script, requests kept as raw bytes.

It needs no generated message classes: the two messages have few fields, written and read here by hand.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc  # type: ignore[import-untyped,unused-ignore]
from grpc_health.v1 import health, health_pb2_grpc  # type: ignore[import-untyped,unused-ignore]

SERVICE = "istio.v1.auth.IstioCertificateService"
STOP_S = 5.0
FAR_S = 1e9

LENGTH_DELIMITED = 2


@dataclass(frozen=True, slots=True)
class Request:
    """One call: message fields by number (1 csr, 3 validity_duration, 4 metadata), gRPC metadata, deadline, peer."""

    fields: dict[int, bytes | int]
    metadata: tuple[tuple[str, str], ...]
    seconds_left: float | None
    peer: str

    @property
    def csr(self) -> bytes:
        """The PEM text."""
        value = self.fields[1]
        assert isinstance(value, bytes)
        return value


@dataclass
class Script:
    """What to answer: first each failure in turn, then the chain; and what has been asked."""

    chain: Sequence[str] = ("leaf\n", "root\n")
    failures: list[grpc.StatusCode] = field(default_factory=list)
    hang: threading.Event | None = None
    requests: list[Request] = field(default_factory=list)

    def answer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Handle one CreateCertificate call."""
        left = context.time_remaining()
        # Without a deadline grpcio's threaded server tells of the end of time, not of None.
        left = left if left is not None and left < FAR_S else None
        self.requests.append(Request(dict(_fields(message)), context.invocation_metadata(), left, context.peer()))
        if self.hang is not None:
            self.hang.wait(STOP_S)
        if self.failures:
            context.abort(self.failures.pop(0), "as the script says")
        return b"".join(b"\x0a" + _varint(len(element)) + element.encode() for element in self.chain)


@contextmanager
def serving(script: Script, key: str, chain: str, options: Iterable[tuple[str, int]] = ()) -> Iterator[str]:
    """Serve over TLS on loopback, and give host:port; options are gRPC channel arguments."""
    with ThreadPoolExecutor(16) as pool:
        server = grpc.server(pool, options=list(options))
        handler = grpc.unary_unary_rpc_method_handler(script.answer)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": handler})])
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        credentials = grpc.ssl_server_credentials([(key.encode(), chain.encode())])
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait(STOP_S)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Read the fields of a protobuf message that has varints and length-delimited ones only."""
    rest = iter(message)
    for first in rest:
        number, kind = first >> 3, first & 7
        value = _read_varint(rest.__next__)
        if kind == LENGTH_DELIMITED:
            yield number, bytes(next(rest) for _ in range(value))
        else:
            yield number, value


def _read_varint(next_byte: Callable[[], int]) -> int:
    value = shift = 0
    while True:
        byte = next_byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
