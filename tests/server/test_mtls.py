"""Renewal by certificate on the second port: the whole server, certificates that it has issued itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from signer._pb.security.v1alpha1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from tests.corpus.build import URI, good_csr
from tests.server import cas
from tests.server.calls import PATH, Call, Reply
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.verdicts import Marks, check_refusal, check_success
from tests.support.pki import Ca, key, key_pem, leaf_extensions, make_ca, make_leaf, spki

KEY = "p256/csr"


@dataclass
class Renewing:
    """A server with both ports."""

    server: Running
    deny: Path

    def issue(self) -> list[str]:
        """A first certificate, by token."""
        reply = self.server.send(self.server.good())
        assert reply.code == "OK"
        return list(reply.chain)

    def renew(self, chain: list[str], call: Call | None = None, roots: bytes = b"") -> Reply:
        """By the certificate alone, over a connection of its own."""
        credentials = grpc.ssl_channel_credentials(
            roots or self.server.roots(), key_pem(key(KEY)), "".join(chain).encode()
        )
        assert self.server.server.mtls is not None
        call = call or Call(good_csr())
        with grpc.secure_channel(f"127.0.0.1:{self.server.server.mtls.port}", credentials) as channel:
            method = channel.unary_unary(
                PATH,
                request_serializer=IstioCertificateRequest.SerializeToString,
                response_deserializer=IstioCertificateResponse.FromString,
            )
            try:
                answer = method(call.message(), metadata=call.metadata(), timeout=10.0)
            except grpc.RpcError as error:
                return Reply(error.code().name, error.details() or "", (), 0.0)
            return Reply("OK", "", tuple(answer.cert_chain), 0.0)


def _renewing(loops: LoopThread, place: Path, **over: Any) -> Iterator[Renewing]:
    deny = place / "deny.yaml"
    deny.write_text("[]")
    listen = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0", "mtls": "127.0.0.1:0"}
    config = configuration(cas.init(place / "ca"), deny={"file": str(deny)}, **over)
    with running(loops, place, {**config, "listen": listen}) as server:
        yield Renewing(server, deny)


@pytest.fixture
def renewing(loops: LoopThread, tmp_path: Path) -> Iterator[Renewing]:
    yield from _renewing(loops, tmp_path)


def test_a_renewal(renewing: Renewing) -> None:
    """Of the same identity, and told as what it is."""
    chain = renewing.issue()
    marks = Marks.of(renewing.server)
    line = check_success(renewing.server, marks, Call(good_csr()), renewing.renew(chain[:-1]))
    assert (line["method"], line["caller"], line["identity"]) == ("client-certificate", URI, URI)
    assert line["caller_serial"] == only_serial(chain)


def only_serial(chain: list[str]) -> str:
    """Of the leaf, as the audit writes it."""
    return f"{x509.load_pem_x509_certificate(chain[0].encode()).serial_number:x}"


def test_not_of_another_identity(renewing: Renewing) -> None:
    """Nor for another."""
    chain = renewing.issue()[:-1]
    other = "spiffe://cluster.local/ns/payments/sa/other"
    for call, error in (
        (Call(good_csr(uri=other)), "IdentityRejected"),
        (Call(good_csr(uri=other), hints={"ImpersonatedIdentity": other}), "ImpersonationDenied"),
    ):
        marks = Marks.of(renewing.server)
        check_refusal(renewing.server, marks, call, renewing.renew(chain, call), error, "")


def test_another_ca_gets_no_connection(renewing: Renewing) -> None:
    """The handshake ends there."""
    stranger = make_ca("stranger", window=cas.around_now())
    leaf = Ca(make_leaf(stranger, spki(key(KEY)), leaf_extensions(URI), window=cas.around_now()), key(KEY))
    assert renewing.renew([leaf.pem.decode()]).code == "UNAVAILABLE"


def test_a_denied_serial_renews_nothing(renewing: Renewing) -> None:
    """Once the list is read."""
    chain = renewing.issue()
    renewing.deny.write_text(f"[{{serial: '{only_serial(chain)}', reason: stolen}}]")
    mark = renewing.server.log.size()
    renewing.server.log.await_line(lambda line: "deny list in use" in str(line["message"]), mark, 10.0)
    marks = Marks.of(renewing.server)
    check_refusal(renewing.server, marks, Call(good_csr()), renewing.renew(chain[:-1]), "PolicyDenied", "stolen")
