"""Calls that no proxy makes: no message, half a message, rubbish."""

import gc
import ssl
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from signer.server.rpc import Ballast
from tests.server import raw_http2
from tests.server.calls import PATH
from tests.server.conftest import NewServer
from tests.server.running import Running
from tests.server.verdicts import Marks, only_line, still_serves

RUBBISH = {"broken bytes": b"\xff\xff\xff", "not UTF-8": b"\x0a\x02\xff\xfe", "cut off": b"\x0a\x7fx"}


@pytest.fixture
def channel(developing: Running) -> Iterator[grpc.Channel]:
    """A connection that sends what it is given."""
    with grpc.secure_channel(developing.address, grpc.ssl_channel_credentials(developing.roots())) as opened:
        yield opened


def _raw(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(PATH, request_serializer=lambda b: b, response_deserializer=lambda b: b)


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_is_invalid_and_audited(developing: Running, channel: grpc.Channel, name: str) -> None:
    """Never UNKNOWN with the library's own text."""
    marks = Marks.of(developing)
    with pytest.raises(grpc.RpcError) as caught:
        _raw(channel)(RUBBISH[name], timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("the CSR is malformed (request ")
    line = only_line(developing, marks)
    assert (line["error"], line["reason"]) == ("CsrMalformed", "the message is no IstioCertificateRequest")
    with developing.client() as client:
        still_serves(developing, client)


def test_a_call_without_its_message_ends_at_the_deadline(new_server: NewServer) -> None:
    """The library alone would keep it, and what came with it, for as long as the connection lives."""
    server = new_server(limits={"deadline": "1s"})
    marks, done = Marks.of(server), threading.Event()

    def never() -> Iterator[bytes]:
        done.wait(30)
        yield b""

    with grpc.secure_channel(server.address, grpc.ssl_channel_credentials(server.roots())) as channel:
        method = channel.stream_unary(PATH, request_serializer=lambda b: b, response_deserializer=lambda b: b)
        start = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            method(never(), timeout=20)
        done.set()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert time.monotonic() - start < 10
    assert "no message came within" in only_line(server, marks)["reason"]


ODD = {"authorization": "16", "clusterid": "16", "x-anything": "0"}
"""Metadata that is no text, and the status that comes of it."""


@pytest.mark.parametrize("name", ODD)
def test_metadata_that_is_no_text_is_in_no_log(name: str, developing: Running) -> None:
    """The library would log it, whole; a token with one byte too many is still a token."""
    call = developing.good()
    (bearer,) = call.authorization
    own: dict[str, str] = {"authorization": bearer, "clusterid": "Kubernetes"}
    sent: dict[str, str | bytes] = {**own, name: own.get(name, bearer).encode() + b"\xff"}
    marks = Marks.of(developing)
    context = ssl.create_default_context(cadata=developing.roots().decode())
    context.set_alpn_protocols(["h2"])
    with raw_http2.connect(developing.address, context) as tls:
        answer = raw_http2.exchange(tls, call.message(), [*sent.items()])
    assert answer.status == ODD[name]
    only_line(developing, marks)
    assert bearer[-40:] not in developing.log.text() + developing.audit.text()
    assert "Invalid encoding" not in developing.log.text()


def test_ballast_collects_by_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once so many bytes have passed, whatever they were in."""
    collections: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(None))
    ballast = Ballast()
    for _ in range(35):
        ballast.add(1024 * 1024)
    assert len(collections) == 2
