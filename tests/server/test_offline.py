"""Tokens judged offline beside TokenReview: real tokens of a real API server, one table, one verdict."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import rbac, tokens
from tests.cluster.poll import until
from tests.corpus.build import good_csr
from tests.e2e.apilog import ApiLog
from tests.server import cas
from tests.server.calls import Call, bearer
from tests.server.loop import LoopThread
from tests.server.review import Review
from tests.server.running import NAMESPACE, Running, configuration, running
from tests.server.token_cases import CASES, REVIEW, STRICTER, Case
from tests.server.verdicts import Marks, check_refusal, check_success

FOLLOW = [
    rbac.CREATE_TOKEN_REVIEWS,
    {"apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": ["get", "list", "watch"]},
]
MODES = ("review", "offline")
FLOOD = 1000


def _serving(loops: LoopThread, review: Review, place: Path, tokens: str, **over: Any) -> "Iterator[Running]":
    place.mkdir(parents=True, exist_ok=True)
    kubeconfig = rbac.account_kubeconfig(review.kube, place / "kubeconfig", "istio-system", f"tokens-{tokens}", FOLLOW)
    clusters = [{"id": "Kubernetes", "kubeconfig": str(kubeconfig), "tokens": tokens, **over}]
    with running(
        loops, place, configuration(cas.init(place / "ca"), clusters=clusters), mint=review.pod_token
    ) as at_work:
        yield at_work


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, loops: LoopThread, review: Review, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One of each kind."""
    yield from _serving(loops, review, tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def offline(loops: LoopThread, review: Review, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from _serving(loops, review, tmp_path_factory.mktemp("offline"), "offline")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_verdict(server: Running, review: Review, case: Case) -> None:
    """By both, with the same code; the reasons are each one's own."""
    call = Call(good_csr(), bearer(case.make(review)))
    marks = Marks.of(server)
    reply = server.send(call)
    if case.good:
        check_success(server, marks, call, reply)
    else:
        theirs = (REVIEW,) if _judged_by(server) == "review" else ()
        check_refusal(server, marks, call, reply, "AuthenticationFailed", case.reason, *theirs)


def _judged_by(server: Running) -> str:
    return str(server.server.config.clusters[0].tokens)


def test_the_table() -> None:
    """Long enough, and nothing in it twice."""
    names = [case.name for case in [*CASES, *STRICTER]]
    assert len(CASES) >= 60
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", STRICTER, ids=str)
def test_stricter(offline: Running, review: Review, case: Case) -> None:
    """Offline alone refuses; that TokenReview does not is what the table claims."""
    token = case.make(review)
    assert review.kube.review_token(token)["authenticated"]
    call = Call(good_csr(), bearer(token))

    def probe() -> bool:
        marks = Marks.of(offline)
        reply = offline.send(call)
        if reply.code == "OK":  # The watch is some milliseconds behind.
            return False
        check_refusal(offline, marks, call, reply, "AuthenticationFailed", case.reason)
        return True

    until(probe, deadline=2.0, what="the refusal")


def test_a_flood_of_unknown_keys_is_one_fetch(offline: Running, review: Review) -> None:
    """Nobody makes the signer flood the API server: it is asked for keys once, and no TokenReview is made."""
    good = review.pod_token()
    log = ApiLog(review.cluster, review.kube, "istio-system", "tokens-offline")
    before = Counter(log.calls())
    with offline.client() as client:
        for number in range(FLOOD):
            header = json.dumps({"alg": "RS256", "kid": f"junk-{number}"}).encode()
            odd = f"{tokens.base64url(header)}.{good.partition('.')[2]}"
            assert client.send(Call(good_csr(), bearer(odd))).code == "UNAUTHENTICATED"
        assert client.send(Call(good_csr(), bearer(good))).code == "OK"
    made = Counter(log.calls()) - before
    assert made["get /openid/v1/jwks 200"] <= 1, made
    assert not [call for call in made if "tokenreviews" in call], made


def test_a_deleted_pods_token_dies_within_two_seconds(offline: Running, review: Review) -> None:
    """TokenReview itself takes ten."""
    token = review.pod_token(pod="short-lived")
    call = Call(good_csr(), bearer(token))
    assert offline.send(call).code == "OK"
    review.kube.delete_pod(NAMESPACE, "short-lived")
    until(lambda: offline.send(call).code != "OK", deadline=2.0, what="the token to be refused")
    assert offline.send(call).code == "UNAUTHENTICATED"


def test_the_way_it_was_proven_is_audited(offline: Running, review: Review) -> None:
    """With the pod's node."""
    call = Call(good_csr(), bearer(review.pod_token()))
    marks = Marks.of(offline)
    line = check_success(offline, marks, call, offline.send(call))
    assert (line["method"], line["pod"]["node"]) == ("offline", "node-1")
