"""HTTP/2 by hand: sends what no gRPC library would send, and shows the bytes that come back.

Headers go out as literals without Huffman coding (RFC 7541 section 6.2.2); answers are searched as bytes, since the
server's library does not use Huffman coding either.
"""

import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from signer._pb.security.v1alpha1.ca_pb2 import IstioCertificateRequest
from tests.server.calls import PATH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
LIMIT = 10.0


@dataclass
class Answer:
    """The frames of one stream: header blocks as bytes, data, and whether the stream was ended."""

    headers: list[bytes] = field(default_factory=list)
    data: bytes = b""
    ended: bool = False

    @property
    def status(self) -> str:
        """``grpc-status`` as it stands in the trailers; empty where there is none."""
        block = self.headers[-1] if self.headers else b""
        at = block.find(b"grpc-status")
        size = block[at + 11] if at >= 0 else 0
        return block[at + 12 : at + 12 + size].decode()


def _literal(name: str, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return b"\x10" + _sized(name.encode()) + _sized(raw)


def _sized(raw: bytes) -> bytes:
    """A string literal: length as an integer with a 7-bit prefix (RFC 7541 section 5.1)."""
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, size = len(raw) - 127, bytearray([127])
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    return bytes([*size, rest]) + raw


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def request(message: IstioCertificateRequest, headers: Sequence[tuple[str, str | bytes]], authority: str) -> bytes:
    """A whole unary call on stream 1."""
    fixed = [(":method", "POST"), (":scheme", "https"), (":path", PATH), (":authority", authority)]
    grpc = [("te", "trailers"), ("content-type", "application/grpc"), ("grpc-accept-encoding", "gzip,deflate,identity")]
    block = b"".join(_literal(n, v) for n, v in [*fixed, *grpc, *headers])
    body = message.SerializeToString()
    data = b"\x00" + struct.pack(">I", len(body)) + body
    opening = PREFACE + frame(SETTINGS, 0, 0, b"")
    return opening + frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, data)


def connect(address: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """A TLS connection that waits ``LIMIT`` seconds at most for each read."""
    host, _, port = address.rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=LIMIT)
    return context.wrap_socket(plain, server_hostname=host, session=session)


def exchange(
    tls: ssl.SSLSocket,
    message: IstioCertificateRequest,
    headers: Sequence[tuple[str, str | bytes]],
    authority: str = "istio-signer",
) -> Answer:
    """Send one call and read until its stream or the connection ends."""
    tls.sendall(request(message, headers, authority))
    answer = Answer()
    for kind, flags, stream, payload in _frames(tls):
        if kind == SETTINGS and not flags & ACK:
            tls.sendall(frame(SETTINGS, ACK, 0, b""))
        if kind == PING and not flags & ACK:
            tls.sendall(frame(PING, ACK, 0, payload))
        if stream == 1 and kind == HEADERS:
            answer.headers.append(payload)
        if stream == 1 and kind == DATA:
            answer.data += payload
        if stream == 1 and (kind not in (DATA, HEADERS) or flags & END_STREAM):
            answer.ended = kind in (DATA, HEADERS)
            break
    return answer


def _frames(tls: ssl.SSLSocket) -> Iterator[tuple[int, int, int, bytes]]:
    with tls.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            size = int.from_bytes(head[:3], "big")
            yield head[3], head[4], int.from_bytes(head[5:9], "big"), stream.read(size)
