"""The port on which clients prove themselves by a certificate: a real handshake, and what arrives of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from cryptography import x509

from signer.core.errors import Meaning, SignerError, meaning
from signer.issue.pipeline import Pipeline
from signer.issue.request import IssueRequest
from signer.server.listener import Listener, ListenerSettings
from signer.server.rpc import CallLimits, CertificateService, chain_of
from signer.server.tls import client_credentials, credentials
from signer.trust.serving import KeyPair, ServingCertificate
from tests.server.calls import Call, send_over
from tests.server.cas import around_now
from tests.server.loop import LoopThread
from tests.support.pki import Ca, changed, key, key_pem, leaf_extensions, make_ca, make_leaf, spki

URI = "spiffe://cluster.local/ns/payments/sa/api"
SPAN = around_now()
SERVING_ROOT = make_ca("serving root", window=SPAN)
OLD = make_ca("old root", window=SPAN)
MIDDLE = make_ca("old intermediate", OLD, window=SPAN)
NEW = make_ca("new root", window=SPAN)
KEY = key("p256/client")


def pair(title: str, root: Ca = SERVING_ROOT) -> KeyPair:
    """A serving pair for 127.0.0.1."""
    private = key(f"p256/{title}")
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = make_leaf(root, spki(private), changed(leaf_extensions(), (names, True)), window=SPAN)
    return KeyPair(key_pem(private), Ca(leaf, private).pem, SPAN, leaf.serial_number)


def client_leaf(parent: Ca) -> bytes:
    """A client's certificate."""
    return Ca(make_leaf(parent, spki(KEY), leaf_extensions(URI), window=SPAN), KEY).pem


@dataclass
class Fake:
    """Stands in for the pipeline; keeps what comes."""

    requests: list[IssueRequest] = field(default_factory=list)

    async def issue(self, request: IssueRequest) -> tuple[str, ...]:
        """Answer with anything."""
        self.requests.append(request)
        return ("chain",)

    def refuse(self, request: IssueRequest, error: SignerError) -> Meaning:
        """Tell what it means."""
        self.requests.append(request)
        return meaning(error)


@dataclass
class Port:
    """A listener at work, and what it follows."""

    fake: Fake
    port: int
    roots: list[bytes]
    serving: SimpleNamespace

    def call(self, *chain: bytes, serving: bytes = SERVING_ROOT.pem) -> str:
        """Make a call over a connection of its own, on which the chain is shown; gives the code."""
        with self.channel(*chain, serving=serving) as channel:
            return attempt(channel)

    def channel(self, *chain: bytes, serving: bytes = SERVING_ROOT.pem) -> Any:
        """A new channel that shares no connection."""
        shown = (key_pem(KEY), b"".join(chain)) if chain else (None, None)
        secret = grpc.ssl_channel_credentials(serving, *shown)
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", secret, options=options)

    def shown(self) -> tuple[bytes, ...]:
        """The chain of the last call."""
        return self.fake.requests[-1].credentials.chain


def attempt(channel: grpc.Channel) -> str:
    """One call; gives the code."""
    return send_over(channel, Call("csr")).code


@contextmanager
def listening(loops: LoopThread, *, with_clients: bool) -> Iterator[Port]:
    """A listener on a free port."""
    fake, roots, serving = Fake(), [OLD.pem], SimpleNamespace(pair=None)
    follows, first = cast(ServingCertificate, serving), pair("first")

    async def start() -> Listener:
        listener = Listener(CertificateService(cast(Pipeline, fake), CallLimits()), ListenerSettings("127.0.0.1:0"))
        by_client = client_credentials(follows, first, lambda: roots[0])
        await listener.start(by_client if with_clients else credentials(follows, first))
        return listener

    listener = loops.run(start())
    try:
        yield Port(fake, listener.port, roots, serving)
    finally:
        loops.run(listener.stop(0.0))


@pytest.fixture
def port(loops: LoopThread) -> Iterator[Port]:
    """The port for client certificates."""
    with listening(loops, with_clients=True) as at_work:
        yield at_work


def test_the_chain_arrives(port: Port) -> None:
    """Leaf first, each certificate on its own, once."""
    by_root, by_middle = client_leaf(OLD), client_leaf(MIDDLE)
    for chain in ((by_root,), (by_middle, MIDDLE.pem), (by_middle, MIDDLE.pem, OLD.pem)):
        assert port.call(*chain) == "OK"
        assert port.shown() == chain


def test_without_a_certificate(port: Port) -> None:
    """There is no handshake, so no call."""
    assert port.call() == "UNAVAILABLE"
    assert port.fake.requests == []


@pytest.mark.parametrize("chain", [(client_leaf(NEW),), (client_leaf(NEW), NEW.pem), (client_leaf(MIDDLE),)])
def test_a_chain_that_leads_nowhere(port: Port, chain: tuple[bytes, ...]) -> None:
    """Another root's, though it be shown, and one without its intermediate."""
    assert port.call(*chain) == "UNAVAILABLE"
    assert port.fake.requests == []


def test_new_roots_count_at_the_next_handshake(port: Port) -> None:
    """Without a restart; old connections go on, and each of their calls is judged by the authenticator."""
    old, new = client_leaf(OLD), client_leaf(NEW)
    with port.channel(old) as kept:
        assert attempt(kept) == "OK"
        assert port.call(new) == "UNAVAILABLE"
        port.roots[0] = OLD.pem + NEW.pem
        assert (port.call(old), port.call(new)) == ("OK", "OK")
        port.roots[0] = NEW.pem
        assert (port.call(old), port.call(new)) == ("UNAVAILABLE", "OK")
        assert attempt(kept) == "OK"
        assert port.shown() == (old,)


def test_no_roots_let_nobody_in(port: Port) -> None:
    """And some, later, those who have their certificates."""
    port.roots[0] = b""
    assert port.call(client_leaf(OLD)) == "UNAVAILABLE"
    port.roots[0] = OLD.pem
    assert port.call(client_leaf(OLD)) == "OK"


def test_a_new_serving_pair_counts_too(port: Port) -> None:
    """From another root, which clients must trust to come in; those of clients are as they were."""
    port.serving.pair = pair("second", NEW)
    assert port.call(client_leaf(OLD)) == "UNAVAILABLE", "this client trusts the first pair's root only"
    assert port.call(client_leaf(OLD), serving=NEW.pem) == "OK"
    assert port.call(client_leaf(NEW), serving=NEW.pem) == "UNAVAILABLE"


def test_the_token_port_asks_for_none(loops: LoopThread) -> None:
    """What a client would show is not seen there."""
    with listening(loops, with_clients=False) as port:
        assert (port.call(), port.shown()) == ("OK", ())
        assert (port.call(client_leaf(OLD)), port.shown()) == ("OK", ())


_LEAF, _UPPER = client_leaf(MIDDLE), MIDDLE.pem
_SSL = {"transport_security_type": [b"ssl"]}


@pytest.mark.parametrize(
    ("peer", "chain"),
    [
        ({}, ()),
        (_SSL, ()),
        ({"x509_pem_cert": [_LEAF]}, ()),
        ({"x509_pem_cert": [_LEAF], "transport_security_type": [b"insecure"]}, ()),
        (_SSL | {"x509_pem_cert": [_LEAF]}, (_LEAF,)),
        (_SSL | {"x509_pem_cert": [_LEAF], "x509_pem_cert_chain": [b""]}, (_LEAF,)),
        (_SSL | {"x509_pem_cert": [_LEAF], "x509_pem_cert_chain": [_UPPER]}, (_LEAF, _UPPER)),
        (_SSL | {"x509_pem_cert": [_LEAF], "x509_pem_cert_chain": [_LEAF + _UPPER]}, (_LEAF, _UPPER)),
    ],
)
def test_what_the_library_says_of_the_peer(peer: dict[str, list[bytes]], chain: tuple[bytes, ...]) -> None:
    """Only TLS counts; the leaf comes once, whether or not the library lists it twice."""
    assert chain_of(peer) == chain
