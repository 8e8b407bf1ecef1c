"""The Go client against a scripted server: it must look, retry and count as real clients do."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc  # type: ignore[import-untyped,unused-ignore]
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.goclient.fake_server import Script, serving
from tests.goclient.run import AgentResult, GoClientError, LoadResult, agent, load
from tests.mesh.pki import Authority, rsa_key

pytestmark = pytest.mark.timeout(300)

NAME = "istiod.istio-system.svc"
SPIFFE_ID = "spiffe://cluster.local/ns/shop/sa/front"
EMPTY_O = bytes.fromhex("300b 3109 3007 0603 55040a 1300")
"""A subject of one relative name: organizationName, an empty PrintableString."""

RETRIED = ["CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE"]
FINAL = ["UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED", "UNKNOWN"]


@dataclass
class Place:
    """A running server, and how to reach it."""

    script: Script
    flags: list[str | Path]

    def agent(self, *more: str | Path) -> AgentResult:
        return agent(*self.flags, "-san", SPIFFE_ID, *more)

    def load(self, *more: str | Path) -> LoadResult:
        return load(*self.flags, *more)


@dataclass
class Identity:
    """The server's own certificate, RSA so that every TLS profile can use it, and the client's trust in it."""

    key: str
    chain: str
    root_file: Path


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    held = Authority.root("CA's root").leaf([x509.DNSName(NAME)], key=rsa_key())
    root_file = tmp_path_factory.mktemp("trust") / "root.pem"
    root_file.write_text(held.roots)
    return Identity(held.key, held.certificate_chain, root_file)


def flags(identity: Identity, address: str) -> list[str | Path]:
    return ["-addr", address, "-root", identity.root_file, "-server-name", NAME]


@pytest.fixture
def place(identity: Identity) -> Iterator[Place]:
    script = Script()
    with serving(script, identity.key, identity.chain) as address:
        yield Place(script, flags(identity, address))


def sent_csr(place: Place) -> x509.CertificateSigningRequest:
    (request,) = place.script.requests
    return x509.load_pem_x509_csr(request.csr)


def test_the_agents_call(place: Place, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a.b.c\n")
    result = place.agent("-token-file", token, "-ttl", "3600", "-header", "foo=bar")
    assert (result["code"], result["attempts"], result["chain"]) == ("OK", 1, ["leaf\n", "root\n"])
    (request,) = place.script.requests
    expected = {("authorization", "Bearer a.b.c"), ("clusterid", "Kubernetes"), ("foo", "bar")}
    assert expected <= set(request.metadata)
    assert request.fields[3] == 3600
    assert b"CertSigner" in bytes(request.fields[4])
    assert request.seconds_left is None, "real clients set no deadline"


def test_the_agents_csr(place: Place) -> None:
    place.agent()
    csr = sent_csr(place)
    assert csr.subject.public_bytes() == EMPTY_O
    key = csr.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    (extension,) = csr.extensions
    assert extension.critical
    assert extension.value == x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SPIFFE_ID)])


def test_ztunnels_csr(place: Place) -> None:
    place.agent("-shape", "ztunnel")
    csr = sent_csr(place)
    assert list(csr.subject) == []
    key = csr.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    (extension,) = csr.extensions
    assert not extension.critical
    assert 4 not in place.script.requests[0].fields


def test_ztunnels_impersonation(place: Place) -> None:
    place.agent("-shape", "ztunnel", "-impersonate", SPIFFE_ID)
    extra = place.script.requests[0].fields[4]
    assert isinstance(extra, bytes)
    assert b"ImpersonatedIdentity" in extra
    assert b"CertSigner" not in extra


def test_the_answer_and_its_key_are_written(place: Place, tmp_path: Path) -> None:
    place.agent("-key-out", tmp_path, "-chain-out", tmp_path)
    assert [(tmp_path / f"chain-{i}.pem").read_text() for i in range(2)] == ["leaf\n", "root\n"]
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    encoding = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    assert key.public_key().public_bytes(*encoding) == sent_csr(place).public_key().public_bytes(*encoding)


def test_a_given_csr_goes_out_as_it_is(place: Place, tmp_path: Path) -> None:
    text = tmp_path / "csr.pem"
    text.write_text("no CSR at all")
    place.agent("-csr", text)
    assert place.script.requests[0].csr == b"no CSR at all"


@pytest.mark.parametrize("name", RETRIED)
def test_the_agent_retries(place: Place, name: str) -> None:
    place.script.failures = [grpc.StatusCode[name]]
    result = place.agent()
    assert (result["code"], result["attempts"]) == ("OK", 2)
    assert len({request.csr for request in place.script.requests}) == 1, "a retry sends the same bytes"


@pytest.mark.parametrize("name", FINAL)
def test_the_agent_does_not_retry(place: Place, name: str) -> None:
    place.script.failures = [grpc.StatusCode[name]]
    result = place.agent()
    assert result["code"].upper() == name.replace("_", "")
    assert (result["attempts"], result["text"]) == (1, "as the script says")


def test_the_agent_gives_up_after_five_attempts(place: Place) -> None:
    place.script.failures = [grpc.StatusCode.UNAVAILABLE] * 9
    result = place.agent()
    assert (result["code"], result["attempt_codes"]) == ("Unavailable", ["Unavailable"] * 5)
    assert 1.5 <= result["seconds"] < 10


def test_a_server_that_hangs_is_left_in_the_end(place: Place) -> None:
    place.script.hang = threading.Event()
    result = place.agent("-guard", "500ms")
    place.script.hang.set()
    assert (result["code"], result["gave_up"]) == ("Canceled", True)


TLS_CHACHA20 = 0x1303

TLS_PROFILES = {
    "default": ("TLS 1.3", "AES", ""),
    "tls12-fips": ("TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "CurveP256"),
    "tls13-aesgcm": ("TLS 1.3", "GCM", ""),
    "pqc": ("TLS 1.3", "", "X25519MLKEM768"),
}


@pytest.mark.parametrize("profile", TLS_PROFILES)
def test_what_tls_agrees_on_is_told(place: Place, profile: str) -> None:
    tls = place.agent("-tls", profile)["tls"]
    assert tls
    version, cipher, curve = TLS_PROFILES[profile]
    assert (tls["version"], tls["alpn"]) == (version, "h2")
    assert cipher in tls["cipher"]
    assert curve in tls["curve"]


def offered_suites(listener: socket.socket) -> set[int]:
    """Take one connection, read its ClientHello, and give the numbers of the cipher suites in it."""
    connection, _ = listener.accept()
    with connection:
        hello = connection.recv(65536)
    session = 5 + 4 + 2 + 32  # record header, message header, version, random
    suites = session + 1 + hello[session]
    (length,) = struct.unpack_from(">H", hello, suites)
    return set(struct.unpack_from(f">{length // 2}H", hello, suites + 2))


@pytest.mark.parametrize(("profile", "chacha20"), [("default", True), ("tls13-aesgcm", False)])
def test_ztunnels_profile_does_not_offer_chacha20(identity: Identity, profile: str, chacha20: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        listener.settimeout(30)
        suites = threads.submit(offered_suites, listener)
        agent(*flags(identity, f"127.0.0.1:{listener.getsockname()[1]}"), "-tls", profile, "-guard", "2s")
        assert (TLS_CHACHA20 in suites.result()) is chacha20


def test_tls11_is_refused_by_the_server(place: Place) -> None:
    result = place.agent("-tls", "tls11")
    assert (result["code"], result["attempts"], result["tls"]) == ("Unavailable", 5, None)
    # grpcio closes the connection without a TLS alert, so this end cannot tell why.
    assert result["handshake_error"]


def test_keepalive_pings_are_told_from_too_many(identity: Identity) -> None:
    """Two servers side by side, for grpc-go sends no ping sooner than after 10 s of silence."""
    strict = [("grpc.http2.max_ping_strikes", 1)]
    kind = [*strict, ("grpc.http2.min_ping_interval_without_data_ms", 5_000)]
    with (
        serving(Script(), identity.key, identity.chain, kind) as good,
        serving(Script(), identity.key, identity.chain, strict) as bad,
        ThreadPoolExecutor() as threads,
    ):
        held = threads.map(
            lambda at: agent(*flags(identity, at), "-keepalive", "10s", "-hold", "35s")["hold"], [good, bad]
        )
        calm, angry = held
    assert calm
    assert angry
    assert calm["ping_acks"] >= 3
    assert not calm["disconnected"]
    assert (calm["goaways"], calm["stream_code"]) == ([], "")
    assert angry["goaways"] == [{"code": "ENHANCE_YOUR_CALM", "debug": "too_many_pings"}]
    # When the library closes the connection after that is its own affair: it has told the client to leave.
    assert angry["enhance_your_calm"]
    assert angry["stream_code"] == "Unavailable"


def test_a_load_is_counted(place: Place, tmp_path: Path) -> None:
    tokens, names = tmp_path / "tokens", tmp_path / "names"
    tokens.write_text("t0\nt1\nt2\n")
    names.write_text("".join(f"{SPIFFE_ID}{i}\n" for i in range(3)))
    result = place.load("-n", "200", "-token-file", tokens, "-san-file", names, "-pid", str(os.getpid()))
    assert (result["n"], result["ok"], result["failed"], result["errors"]) == (200, 200, 0, {})
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
    assert result["rps"] == pytest.approx(200 / result["seconds"])
    assert result["cpu_ms_per_call"]
    assert len(place.script.requests) == 208, "one warm-up call a connection"
    assert len({request.csr for request in place.script.requests}) == 208, "no CSR is sent twice"
    assert len({request.peer for request in place.script.requests}) == 8
    for request in place.script.requests:
        token = dict(request.metadata)["authorization"].removeprefix("Bearer t")
        assert x509.load_pem_x509_csr(request.csr).extensions[0].value == x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(SPIFFE_ID + token)]
        )


def test_a_fresh_load_opens_a_connection_a_call(place: Place) -> None:
    result = place.load("-n", "20", "-fresh", "-warmup", "-1")
    assert result["ok"] == 20
    assert len({request.peer for request in place.script.requests}) == 20


def test_rsa_keys_of_a_load_differ_and_are_sound(place: Place) -> None:
    assert place.load("-n", "20", "-key", "rsa", "-warmup", "-1")["ok"] == 20
    csrs = [x509.load_pem_x509_csr(request.csr) for request in place.script.requests]
    assert all(csr.is_signature_valid for csr in csrs)
    keys = [key for key in (csr.public_key() for csr in csrs) if isinstance(key, rsa.RSAPublicKey)]
    assert [key.key_size for key in keys] == [2048] * 20
    assert len({key.public_numbers().n for key in keys}) == 20


def test_failures_of_a_load_are_told_by_code(place: Place) -> None:
    place.script.failures = [grpc.StatusCode.PERMISSION_DENIED] * 3
    place.script.chain = ["leaf\n"]
    result = place.load("-n", "10", "-concurrency", "1", "-warmup", "-1")
    assert result["errors"] == {"PermissionDenied": 3, "ShortChain": 7}
    assert (result["ok"], result["rps"], result["cpu_ms_per_call"]) == (0, 0, None)


@pytest.mark.parametrize("wrong", [["-tls", "ssl3"], ["-shape", "envoy"], ["-root", "/dev/null"], ["stray"]])
def test_a_wrong_flag_is_an_error_not_a_result(place: Place, wrong: list[str]) -> None:
    with pytest.raises(GoClientError):
        place.agent(*wrong)
