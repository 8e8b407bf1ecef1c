"""Contract 5: TLS and HTTP/2, with Go's stack where it is the agent's that counts."""

import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from tests.goclient.run import AgentResult, agent
from tests.mesh.pki import Authority
from tests.server.calls import LIMIT, PATH
from tests.server.raw_http2 import Answer, connect, exchange
from tests.server.running import URI, Running

Ask = Callable[..., AgentResult]
OVER = ("watch", "idle")
"""Pings beside an open stream, as agents send them, and on a connection at rest."""


@pytest.fixture
def ask(developing: Running, roots_file: Path, token_file: Callable[[Running], Path]) -> Ask:
    """The Go client's call to the server."""
    token = token_file(developing)

    def call(*flags: str | Path) -> AgentResult:
        return agent("-addr", developing.address, "-root", roots_file, "-token-file", token, "-san", URI, *flags)

    return call


def context(server: Running, *protocols: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=server.roots().decode())
    made.set_alpn_protocols(list(protocols))
    return made


def served(server: Running) -> x509.Certificate:
    with connect(server.address, context(server, "h2")) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


def test_5_1_names_of_the_serving_certificate(developing: Running, ask: Ask) -> None:
    """5.1: agents verify the host of CA_ADDR, or istiod.istio-system.svc where that has "localhost" in it."""
    for name in ("localhost", "istiod.istio-system.svc", "istio-signer.istio-system.svc"):
        assert ask("-server-name", name)["code"] == "OK"
    assert ask("-server-name", "elsewhere.example")["code"] == "Unavailable"
    names = served(developing).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert not names.get_values_for_type(x509.UniformResourceIdentifier)


def test_5_2_an_address_needs_an_ip_san(developing: Running, ask: Ask) -> None:
    """5.2: with an IP literal there is no SNI, and the address must be in the certificate."""
    assert ask()["code"] == "OK"
    names = served(developing).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)


def test_5_3_the_roots_of_answers_verify_the_server(developing: Running) -> None:
    """5.3: agents re-read the root file for this connection; what answers carry must lead to the server."""
    roots = developing.send(developing.good()).chain[-1].encode()
    with developing.client(roots) as client:
        assert client.send(developing.good()).code == "OK"


def test_5_5_no_client_certificate_is_demanded(ask: Ask, tmp_path: Path) -> None:
    """5.5: proxies with a token have none; one that is offered all the same does no harm and proves nothing."""
    offered = Authority.root("somebody").workload("spiffe://cluster.local/ns/a/sa/b")
    (tmp_path / "cert.pem").write_text(offered.certificate_chain)
    (tmp_path / "key.pem").write_text(offered.key)
    assert ask()["code"] == "OK"
    assert ask("-client-cert", tmp_path / "cert.pem", "-client-key", tmp_path / "key.pem")["code"] == "OK"


def test_5_6_tls_1_1_is_refused(ask: Ask) -> None:
    """5.6: agents speak TLS 1.2 and up, so nobody may be brought below."""
    result = ask("-tls", "tls11")
    assert (result["code"], result["tls"]) == ("Unavailable", None)
    assert result["handshake_error"]


def test_5_6_ztunnels_profile(ask: Ask) -> None:
    """5.6: TLS 1.3 with AES-GCM only."""
    result = ask("-tls", "tls13-aesgcm", "-shape", "ztunnel")
    assert result["code"] == "OK"
    assert result["tls"]
    assert (result["tls"]["version"], result["tls"]["alpn"]) == ("TLS 1.3", "h2")
    assert "GCM" in result["tls"]["cipher"]


@pytest.mark.parametrize(
    ("offered", "chosen"), [(("h2",), "h2"), (("http/1.1", "h2"), "h2"), (("http/1.1",), None), ((), None)]
)
def test_5_6_alpn_is_h2_only(developing: Running, offered: tuple[str, ...], chosen: str | None) -> None:
    """5.6: grpc-go refuses a server that does not choose h2; nothing else is spoken here."""
    made = context(developing, *offered) if offered else ssl.create_default_context(cadata=developing.roots().decode())
    try:
        with connect(developing.address, made) as tls:
            assert tls.selected_alpn_protocol() == chosen
    except (ssl.SSLError, ConnectionError):
        assert chosen is None


def test_5_7_keepalive_pings_are_not_punished(ask: Ask) -> None:
    """5.7: agents ping every 30 s, some every 10 to 15; the library's default would send GOAWAY after two."""
    with ThreadPoolExecutor() as threads:
        holds = threads.map(lambda over: ask("-keepalive", "10s", "-hold", "33s", "-hold-over", over)["hold"], OVER)
    for hold in holds:
        assert hold
        assert hold["ping_acks"] >= 3
        assert (hold["goaways"], hold["disconnected"], hold["stream_code"]) == ([], False, "")


def test_5_8_the_path_and_any_authority(developing: Running) -> None:
    """5.8: the path is fixed, and :authority is whatever host the client was given."""
    assert PATH == "/istio.v1.auth.IstioCertificateService/CreateCertificate"
    for authority in ("istiod.istio-system.svc:15012", "127.0.0.1", "[::1]:1", "x"):
        with connect(developing.address, context(developing, "h2")) as tls:
            assert _ask_raw(developing, tls, authority).status == "0"
    with developing.client() as client:
        other = client.channel.unary_unary(PATH + "s")
        with pytest.raises(grpc.RpcError) as caught:
            other(b"", timeout=LIMIT)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def _ask_raw(server: Running, tls: ssl.SSLSocket, authority: str = "a", token: bool = True) -> Answer:
    call = server.good()
    headers = [("authorization", call.authorization[0])] if token else []
    return exchange(tls, call.message(), headers, authority)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_5_9_a_resumed_session_proves_nothing(developing: Running, version: ssl.TLSVersion) -> None:
    """5.9: no client certificate is used here, so sessions may resume, and each call still needs its token."""
    made = context(developing, "h2")
    made.minimum_version = made.maximum_version = version
    with connect(developing.address, made) as tls:
        assert _ask_raw(developing, tls).status == "0"
        session = tls.session
    with connect(developing.address, made, session) as tls:
        assert _ask_raw(developing, tls, token=False).status == "16"
    with connect(developing.address, made, session) as tls:
        assert _ask_raw(developing, tls).status == "0"


def test_5_10_nothing_is_compressed_and_trailers_are_sent(developing: Running) -> None:
    """5.10: even where the client says that it could read gzip."""
    with connect(developing.address, context(developing, "h2")) as tls:
        answer = _ask_raw(developing, tls)
    assert (len(answer.headers), answer.ended, answer.status) == (2, True, "0")
    assert answer.data[0] == 0, "the compressed flag"
    assert b"gzip" not in answer.headers[0].split(b"grpc-accept-encoding")[0]
    size = int.from_bytes(answer.data[1:5], "big")
    assert len(answer.data) == 5 + size


def test_5_10_a_refusal_is_trailers_only(developing: Running) -> None:
    """5.10: a refusal has a status in its last header block, and no data."""
    with connect(developing.address, context(developing, "h2")) as tls:
        answer = _ask_raw(developing, tls, token=False)
    assert (answer.status, answer.data, answer.ended) == ("16", b"", True)


@pytest.mark.parametrize(
    ("profile", "version", "curve"), [("pqc", "TLS 1.3", "X25519MLKEM768"), ("tls12-fips", "TLS 1.2", "CurveP256")]
)
def test_5_11_compliance_profiles(ask: Ask, profile: str, version: str, curve: str) -> None:
    """5.11: pqc clients offer X25519MLKEM768 only, fips-140-2 clients TLS 1.2 with P-256 and ECDHE-AES-GCM."""
    result = ask("-tls", profile)
    assert (result["code"], result["attempts"]) == ("OK", 1)
    assert result["tls"]
    assert (result["tls"]["version"], result["tls"]["curve"]) == (version, curve)
    assert "GCM" in result["tls"]["cipher"] or version == "TLS 1.3"
