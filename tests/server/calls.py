"""One call as a test describes it, and what came back."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct

from signer._pb.security.v1alpha1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse

PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
LIMIT = 20.0
"""Seconds for one call: a backstop; the server's own deadline is much shorter."""
ROOM = 4 * 1024 * 1024
_OPTIONS = [
    ("grpc.max_send_message_length", ROOM),
    ("grpc.max_metadata_size", ROOM),
    # Channels must not share connections behind the test's back.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent; several values of a key are sent one by one."""

    csr: str
    authorization: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ("Kubernetes",)
    ttl: int = 3600
    hints: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[str, str | bytes], ...] = ()

    def message(self) -> IstioCertificateRequest:
        """The request's message."""
        hints = Struct()
        hints.update(dict(self.hints))
        return IstioCertificateRequest(csr=self.csr, validity_duration=self.ttl, metadata=hints)

    def metadata(self) -> list[tuple[str, str | bytes]]:
        """The gRPC metadata."""
        authorization = [("authorization", value) for value in self.authorization]
        return [*self.headers, *authorization, *(("clusterid", c) for c in self.clusters)]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status code's name, its text, ``cert_chain``, and how long it took."""

    code: str
    text: str
    chain: tuple[str, ...]
    seconds: float


class Client:
    """One channel; connects at the first call and again when the server says so."""

    def __init__(self, address: str, roots: bytes) -> None:
        credentials = grpc.ssl_channel_credentials(roots)
        self.channel = grpc.secure_channel(address, credentials, options=_OPTIONS)
        self._method = _method_of(self.channel)

    def send(self, call: Call, timeout: float = LIMIT) -> Reply:
        """Make a call and wait for its end, good or bad."""
        return _sent(self._method, call, timeout)

    def begin(self, call: Call, timeout: float = LIMIT) -> Any:
        """Start a call and return the library's future of it."""
        return self._method.future(call.message(), metadata=call.metadata(), timeout=timeout)

    def raw(self, call: Call) -> bytes:
        """Make a call that must succeed, and return the answer's bytes."""
        method = self.channel.unary_unary(
            PATH,
            request_serializer=IstioCertificateRequest.SerializeToString,
            response_deserializer=lambda data: data,
        )
        return bytes(method(call.message(), metadata=call.metadata(), timeout=LIMIT))

    def close(self) -> None:
        """Close its connections."""
        self.channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def send_over(channel: grpc.Channel, call: Call, timeout: float = LIMIT) -> Reply:
    """The same over a channel of the test's own."""
    return _sent(_method_of(channel), call, timeout)


def _method_of(channel: grpc.Channel) -> Any:
    return channel.unary_unary(
        PATH,
        request_serializer=IstioCertificateRequest.SerializeToString,
        response_deserializer=IstioCertificateResponse.FromString,
    )


def _sent(method: Any, call: Call, timeout: float) -> Reply:
    start = time.monotonic()
    try:
        answer = method(call.message(), metadata=call.metadata(), timeout=timeout)
    except grpc.RpcError as error:
        return Reply(error.code().name, error.details() or "", (), time.monotonic() - start)
    return Reply("OK", "", tuple(answer.cert_chain), time.monotonic() - start)


def bearer(token: str) -> tuple[str, ...]:
    """The ``authorization`` values of a well-behaved client."""
    return (f"Bearer {token}",)
