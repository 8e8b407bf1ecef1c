"""An API server that gives no verdict is never told as a bad token, and a bad verdict never as an outage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from signer.authn.token_review import GROUP, PATH
from tests.cluster.poll import until
from tests.corpus.build import good_csr
from tests.server import cas, fake_api
from tests.server.calls import Call, Client, bearer
from tests.server.fake_api import FakeApi, Gate, Respond, body, verdict
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.verdicts import refused, still_serves

LIMIT = 10.0
TIMEOUT = 1.5
"""Seconds that the server gives a TokenReview here."""
USER = {"username": "system:serviceaccount:payments:api", "groups": [GROUP]}

UNAVAILABLE: dict[str, tuple[Respond, str]] = {
    "hangs": (fake_api.hang, "TokenReview: no "),
    "cuts the connection": (fake_api.cut, "TokenReview: no connection"),
    "500": (body('{"kind": "Status", "message": "TOKEN"}', 500), "TokenReview: HTTP 500"),
    "503 in HTML": (body("<html>TOKEN</html>", 503, "text/html"), "HTTP 503 with an answer that is not JSON"),
    "429": (body('{"kind": "Status"}', 429), "TokenReview: HTTP 429"),
    "401": (body('{"kind": "Status"}', 401), "TokenReview: HTTP 401: may this service account"),
    "403": (body('{"kind": "Status"}', 403), "TokenReview: HTTP 403: may this service account"),
    "302": (body("", 302), "TokenReview: HTTP 302"),
    "rubbish": (body("\x00\x01 TOKEN"), "HTTP 201 with an answer that is not JSON"),
    "HTML": (body("<html>TOKEN</html>", 200, "text/html"), "HTTP 200 with an answer that is not JSON"),
    "nothing": (body(""), "HTTP 201 with an answer that is not JSON"),
    "2 MB": (body("x" * 2_000_000), "answer of over"),
    "deep JSON": (body("[" * 200_000), "HTTP 201 with an answer that is not JSON"),
    "a list": (body("[]"), "HTTP 201 with JSON that is not an object"),
    "another kind": (body('{"kind": "Status", "status": {"authenticated": true}}'), "not a TokenReview"),
    "no status": (body('{"kind": "TokenReview"}'), "not a TokenReview"),
    "a slow drip": (fake_api.drip, "TokenReview: no "),
}
FAILED: dict[str, tuple[Respond, str]] = {
    "an error that quotes the token": (body('{"kind": "TokenReview", "status": {"error": "no: TOKEN"}}'), "no: ***"),
    "an error beside authenticated": (verdict(error="odd"), "TokenReview: 'odd'"),
    "a long error": (verdict(error="x" * 100_000), "TokenReview: 'xxx"),
    "an error of two lines": (verdict(error="a\nb"), "TokenReview: 'a\\nb'"),
    "authenticated missing": (verdict(authenticated=None), "not authenticated"),
    "authenticated a text": (verdict(authenticated="true"), "not authenticated"),
    "authenticated false": (verdict(authenticated=False), "not authenticated"),
    "no audiences": (verdict(audiences=None), "none of the audiences ['istio-ca'] is confirmed"),
    "other audiences": (verdict(audiences=["vault"]), "none of the audiences"),
    "audiences a text": (verdict(audiences="istio-ca"), "none of the audiences"),
    "no user": (verdict(user=None), "is not in group"),
    "user a list": (verdict(user=[]), "is not in group"),
    "a person": (verdict(user={"username": "jane", "groups": ["system:masters"]}), "'jane' is not in group"),
    "a person by an account's name": (verdict(user=USER | {"groups": ["people"]}), "is not in group"),
    "groups a text": (verdict(user=USER | {"groups": GROUP}), "is not in group"),
    "three parts": (verdict(user=USER | {"username": "system:serviceaccount:payments"}), "is no service account"),
    "five parts": (verdict(user=USER | {"username": f"{USER['username']}:x"}), "is no service account"),
    "a node": (verdict(user=USER | {"username": "system:node:a:b"}), "is no service account"),
    "a newline after the account": (verdict(user=USER | {"username": f"{USER['username']}\n"}), "not a valid service"),
    "an odd namespace": (verdict(user=USER | {"username": "system:serviceaccount:A/b:api"}), "not a valid namespace"),
}


@pytest.fixture(scope="module")
def fake(loops: LoopThread) -> Iterator[FakeApi]:
    with fake_api.faking(loops) as running_fake:
        yield running_fake


@pytest.fixture(scope="module")
def server(loops: LoopThread, fake: FakeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("faults")
    clusters = [{"id": "Kubernetes", "kubeconfig": str(fake.kubeconfig(place / "kubeconfig"))}]
    over = {"clusters": clusters, "authentication": {"timeout": f"{TIMEOUT}s"}}
    config = configuration(cas.init(place / "ca"), **over)
    with running(loops, place, config, mint=fake_api.token) as at_work:
        yield at_work


@pytest.fixture
def client(server: Running, fake: FakeApi) -> Iterator[Client]:
    with server.client() as kept:
        yield kept
        fake.respond = verdict()
        still_serves(server, kept)


def call() -> Call:
    return Call(good_csr(), bearer(fake_api.token()))


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_no_verdict_is_unavailable(server: Running, fake: FakeApi, client: Client, name: str) -> None:
    fake.respond, reason = UNAVAILABLE[name]
    line = refused(server, client, call(), "AuthenticationUnavailable", reason)
    assert line["seconds"] < TIMEOUT + 1.0
    assert "the-signers-own-credential" not in server.log.text() + server.audit.text()


@pytest.mark.parametrize("name", FAILED)
def test_a_bad_verdict_is_unauthenticated(server: Running, fake: FakeApi, client: Client, name: str) -> None:
    fake.respond, reason = FAILED[name]
    refused(server, client, call(), "AuthenticationFailed", reason)


def test_refused_connections_are_unavailable(loops: LoopThread, server: Running, fake: FakeApi, client: Client) -> None:
    loops.run(fake.stop())
    try:
        refused(server, client, call(), "AuthenticationUnavailable", "TokenReview: no connection")
    finally:
        loops.run(fake.start())


def test_what_passes_at_once_is_retried_inside(server: Running, fake: FakeApi, client: Client) -> None:
    """agentgateway drops a valid certificate at the first failed renewal, so one hiccup must not be seen."""
    for hiccup in (fake_api.cut, UNAVAILABLE["500"][0], UNAVAILABLE["429"][0], UNAVAILABLE["rubbish"][0]):
        fake.once = [hiccup]
        assert client.send(call()).code == "OK"


def test_a_legacy_token_names_no_pod(server: Running, fake: FakeApi, client: Client) -> None:
    fake.respond = verdict(user=USER)
    mark = server.audit.size()
    assert client.send(call()).code == "OK"
    assert "pod" not in server.audit.await_line(lambda line: True, mark)


def test_a_good_verdict_is_asked_for_once(server: Running, fake: FakeApi, client: Client) -> None:
    same, before = call(), fake.calls
    assert [client.send(same).code for _ in range(3)] == ["OK"] * 3
    assert fake.calls == before + 1


def test_a_bad_verdict_is_not_remembered(server: Running, fake: FakeApi, client: Client) -> None:
    same, fake.respond = call(), verdict(authenticated=False)
    refused(server, client, same, "AuthenticationFailed", "not authenticated")
    fake.respond = verdict()
    assert client.send(same).code == "OK"


def test_an_askers_leaving_does_not_end_the_question(
    loops: LoopThread, server: Running, fake: FakeApi, client: Client
) -> None:
    """Two ask with one token; the first goes away, the second still gets its certificate from the same question."""
    same, before, gate, mark = call(), fake.calls, Gate(), server.audit.size()
    fake.respond = gate.respond
    first = client.begin(same)
    until(lambda: fake.calls > before, deadline=LIMIT, what="the question")
    second = client.begin(same)
    in_flight = "istio_signer_in_flight 2.0"
    until(lambda: in_flight in server.http("/metrics")[1], deadline=LIMIT, what="the second call")
    first.cancel()
    assert server.audit.await_line(lambda line: True, mark)["code"] == "CANCELLED"
    gate.open(loops)
    assert second.result(LIMIT).cert_chain
    assert fake.calls == before + 1


def test_kubeconfig_is_not_shown(server: Running, tmp_path: Path) -> None:
    assert "the-signers-own-credential" not in server.http("/metrics")[1]


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_are_not_followed(
    loops: LoopThread, server: Running, fake: FakeApi, client: Client, code: int
) -> None:
    """Elsewhere the token would be seen, and somebody else's verdict believed."""
    with fake_api.faking(loops) as elsewhere:

        async def respond(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
            return web.json_response({}, status=code, headers={"Location": f"http://127.0.0.1:{elsewhere.port}{PATH}"})

        fake.respond = respond
        refused(server, client, call(), "AuthenticationUnavailable", f"HTTP {code}")
        assert elsewhere.calls == 0


@pytest.mark.parametrize("text", ["etcdserver: request timed out", "context deadline exceeded", "connection refused"])
def test_the_api_servers_own_troubles_are_no_bad_token(
    server: Running, fake: FakeApi, client: Client, text: str
) -> None:
    """It puts them where it puts its refusals."""
    fake.respond = verdict(authenticated=None, error=f"[invalid bearer token, {text}]")
    refused(server, client, call(), "AuthenticationUnavailable", text)
