"""Contract 3: what clients send. Malformed requests are in the table of bad input."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.cluster.api import Kube
from tests.corpus import csr_encoding, csr_good
from tests.corpus.build import good_csr
from tests.goclient.run import agent
from tests.server.bad_input import ROWS, Row
from tests.server.calls import Call, bearer
from tests.server.conftest import NewServer
from tests.server.raw_http2 import connect, exchange
from tests.server.review import Review
from tests.server.running import URI, Running
from tests.server.verdicts import Marks, check_success, only_line, refused

DAY_S = 24 * 3600


def goes_well(server: Running, call: Call) -> dict[str, Any]:
    marks = Marks.of(server)
    return check_success(server, marks, call, server.send(call))


def lifetime(line: dict[str, Any]) -> float:
    return (datetime.fromisoformat(line["not_after"]) - datetime.fromisoformat(line["time"])).total_seconds()


@pytest.mark.parametrize("make", [csr_good.label_new, csr_good.crlf, csr_good.no_newline_at_the_end])
def test_3_1_spellings_of_pem(developing: Running, make: Callable[[], str]) -> None:
    """3.1: "CERTIFICATE REQUEST" and "NEW CERTIFICATE REQUEST", one block."""
    goes_well(developing, replace(developing.good(), csr=make()))


@pytest.mark.parametrize("make", [csr_encoding.two_blocks, csr_encoding.trailing_garbage])
def test_3_1_exactly_one_block(developing: Running, make: Callable[[], str]) -> None:
    """3.1: trailing garbage and a second block are rejected."""
    with developing.client() as client:
        refused(developing, client, replace(developing.good(), csr=make()), "CsrMalformed", "not exactly one PEM block")


@pytest.mark.parametrize("shape", ["agent", "ztunnel"])
def test_3_2_both_shapes_of_csr(
    developing: Running, token_file: Callable[[Running], Path], roots_file: Path, shape: str
) -> None:
    """3.2: the agent's subject with an empty O and ztunnel's empty one, from a Go client; KU and EKU may be there."""
    result = agent(
        "-addr", developing.address, "-root", roots_file, "-token-file", token_file(developing), "-san", URI,
        "-shape", shape,
    )  # fmt: skip
    assert (result["code"], result["attempts"]) == ("OK", 1), result
    for make in (csr_good.digital_signature, csr_good.both_roles):
        goes_well(developing, replace(developing.good(), csr=make()))


LIFETIMES = {86400: 86400, 3600: 3600, 0: DAY_S, -1: DAY_S, -(2**63): DAY_S, 2**63 - 1: DAY_S, 2**40: DAY_S}


@pytest.mark.parametrize("asked", LIFETIMES)
def test_3_3_lifetimes(developing: Running, asked: int) -> None:
    """3.3: zero or less means the default; over the maximum is clamped, without an overflow."""
    line = goes_well(developing, replace(developing.good(), ttl=asked))
    assert lifetime(line) == pytest.approx(LIFETIMES[asked], abs=2)
    assert line["requested_ttl"] == asked


@pytest.mark.parametrize("asked", [601, 2**63 - 1])
def test_3_3_over_the_maximum_may_be_refused(new_server: NewServer, asked: int) -> None:
    """3.3: with ``over_max: reject`` a longer wish is refused, and the default still is not."""
    rules = {"default_ttl": "5m", "max_ttl": "10m", "over_max": "reject"}
    server = new_server(certificates=rules)
    with server.client() as client:
        reason = f"{asked} s were asked for, 600 s are allowed"
        refused(server, client, replace(server.good(), ttl=asked), "ValidityRejected", reason)
    assert lifetime(goes_well(server, replace(server.good(), ttl=0))) == pytest.approx(300, abs=2)


@pytest.mark.parametrize("name", ["signer empty", "signer a list", "impersonation a number", "signer null"])
def test_3_4_hints_of_odd_types(developing: Running, name: str) -> None:
    """3.4: the agent always sends CertSigner, usually empty; values that are no text count as absent."""
    (row,) = [row for row in ROWS if isinstance(row, Row) and row.name == name]
    line = goes_well(developing, row.make(developing.good()))
    assert "cert_signer" not in line


def test_3_4_a_named_signer_picks_its_route(new_server: NewServer) -> None:
    """3.4: CertSigner leads to the route that lists it, and to no other."""
    routes = [
        {"name": "named", "match": {"cert_signers": ["vault"]}, "backends": ["local"]},
        {"name": "theirs", "match": {"namespaces": ["shop-*"], "cert_signers": ["theirs"]}, "backends": ["local"]},
        {"name": "rest", "backends": ["local"]},
    ]
    server = new_server(routes=routes)
    for hints, route in (({"CertSigner": "vault"}, "named"), ({"CertSigner": ""}, "rest"), ({}, "rest")):
        assert goes_well(server, replace(server.good(), hints=hints))["route"] == route
    with server.client() as client:
        refused(server, client, replace(server.good(), hints={"CertSigner": "Vault"}), "NoRoute", "CertSigner 'Vault'")
        theirs = replace(server.good(), hints={"CertSigner": "theirs"})
        refused(server, client, theirs, "PolicyDenied", "may not ask for CertSigner 'theirs'")


@pytest.mark.parametrize("clusters", [(), ("",), ("Kubernetes",), ("elsewhere", "Kubernetes"), ("elsewhere",) * 2])
def test_3_5_cluster_ids(developing: Running, clusters: tuple[str, ...]) -> None:
    """3.5: an empty one means the local cluster, and so do several."""
    assert goes_well(developing, replace(developing.good(), clusters=clusters))["cluster"] == "Kubernetes"


def test_3_6_the_first_bearer_wins(developing: Running) -> None:
    """3.6: the prefix is case-sensitive, and the first of several values that has it counts."""
    good, bad = developing.good().authorization[0], "Bearer bad"
    goes_well(developing, replace(developing.good(), authorization=("Basic eDp5", "bearer x", good, bad)))
    with developing.client() as client:
        wrong = replace(developing.good(), authorization=(bad, good))
        refused(developing, client, wrong, "AuthenticationFailed", "not a JWT")
        refused(developing, client, replace(wrong, authorization=()), "AuthenticationFailed", "no bearer token")


@pytest.mark.parametrize("odd", ["{}\n", "{}\r\n", "\n{}", " {}", "{} ", "{}\t", "{}\0", "{}\u00e9"], ids=ascii)
def test_3_7_nothing_is_trimmed(developing: Running, odd: str) -> None:
    """3.7: a token with white space around it, sent by hand since libraries refuse to, is no token."""
    marks = Marks.of(developing)
    good = developing.good()
    value = "Bearer " + odd.format(good.authorization[0].removeprefix("Bearer "))
    context = ssl.create_default_context(cadata=developing.roots().decode())
    context.set_alpn_protocols(["h2"])
    with connect(developing.address, context) as tls:
        answer = exchange(tls, good.message(), [("authorization", value.encode()), ("clusterid", "Kubernetes")])
    assert (answer.status, answer.data) == ("16", b"")
    line = only_line(developing, marks)
    assert (line["error"], line["decision"]) == ("AuthenticationFailed", "refused")
    goes_well(developing, good)


def test_3_8_audiences(reviewed: Running, review: Review, kube: Kube) -> None:
    """3.8: tokens for istio-ca, also beside other audiences; those of the API server itself are not ours."""
    for audiences in (["istio-ca"], ["vault", "istio-ca"]):
        line = goes_well(reviewed, Call(good_csr(), bearer(review.pod_token(audiences))))
        assert (line["method"], line["pod"]["name"]) == ("token-review", "api-1")
    with reviewed.client() as client:
        call = Call(good_csr(), bearer(review.account_token()))
        refused(reviewed, client, call, "AuthenticationFailed", "the token is for")


def test_3_8_several_audiences_may_be_accepted(new_server: NewServer, developing: Running) -> None:
    """3.8: the accepted audiences are the operator's."""
    server = new_server(authentication={"audiences": ["mesh", "vault"]})
    with server.client() as client:
        refused(server, client, server.good(), "AuthenticationFailed", "accepted are ['mesh', 'vault']")


def test_3_9_extra_headers(developing: Running) -> None:
    """3.9: CA_HEADER_FOO=bar arrives as metadata foo, and harms nothing."""
    headers = (("foo", "bar"), ("x-request-id", "1"), ("trace-bin", b"\x00\xff"), ("foo", "again"))
    call = replace(developing.good(), headers=headers)
    goes_well(developing, call)
    leaf = x509.load_pem_x509_certificate(developing.send(call).chain[0].encode())
    assert not leaf.subject.rdns
