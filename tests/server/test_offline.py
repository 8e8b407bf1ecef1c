"""Tokens judged offline beside TokenReview: real tokens of a real API server, one table, one verdict."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import rbac
from tests.corpus.build import good_csr
from tests.server import cas
from tests.server.calls import Call, bearer
from tests.server.loop import LoopThread
from tests.server.review import Review
from tests.server.running import NAMESPACE, Running, configuration, running
from tests.server.verdicts import Marks, check_refusal, check_success

FOLLOW = [
    rbac.CREATE_TOKEN_REVIEWS,
    {"apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": ["get", "list", "watch"]},
]
MODES = ("review", "offline")


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


GOOD: dict[str, Callable[[Review], str]] = {
    "pod": lambda r: r.pod_token(),
    "expired, within the leeway of clocks": lambda r: r.expired(20),
    "several audiences": lambda r: r.pod_token(["istio-ca", "other"]),
    "resigned": lambda r: r.resigned(),
    "issued a while ago": lambda r: r.resigned(iat=int(time.time()) - 600, nbf=int(time.time()) - 600),
}
BAD: dict[str, Callable[[Review], str]] = {
    "other audience": lambda r: r.pod_token(["other"]),
    "no audience": lambda r: r.resigned(aud=None),
    "empty audience": lambda r: r.resigned(aud=[]),
    "audience in upper case": lambda r: r.resigned(aud=["ISTIO-CA"]),
    "audience with a blank": lambda r: r.resigned(aud=["istio-ca "]),
    "for the API server": lambda r: r.account_token(),
    "expired by a minute and more": lambda r: r.expired(61),
    "expired by ten minutes": lambda r: r.expired(600),
    "of tomorrow": lambda r: r.not_yet(),
    "in ten minutes": lambda r: r.resigned(nbf=int(time.time()) + 600),
    "other issuer": lambda r: r.resigned(iss="https://elsewhere.example"),
    "issuer with a slash": lambda r: r.resigned(iss="https://kubernetes.default.svc.cluster.local/"),
    "no issuer": lambda r: r.resigned(iss=None),
    "cut signature": lambda r: r.cut(),
    "deleted pod": lambda r: r.token_of_deleted_pod(),
    "remade pod": lambda r: r.token_of_remade_pod(),
    "deleted account": lambda r: r.token_of_deleted_account(),
    "no signature": lambda r: r.pod_token().rpartition(".")[0] + ".",
    "other payload": lambda r: _spliced(r.pod_token(), r.pod_token(["other"])),
    "no token": lambda _: "abc",
    "administrator": lambda r: r.administrator(),
}

# What only the owner of the API server's key could make. It looks at the private claims alone; offline, all must agree.
STRICTER: dict[str, Callable[[Review], str]] = {
    "no expiry": lambda r: r.resigned(exp=None),
    "no subject": lambda r: r.resigned(sub=None),
    "subject of another account": lambda r: r.resigned(sub=f"system:serviceaccount:{NAMESPACE}:other"),
    "subject of another namespace": lambda r: r.resigned(sub="system:serviceaccount:kube-system:api"),
    "subject with a newline": lambda r: r.resigned(sub=f"system:serviceaccount:{NAMESPACE}:api\n"),
}


def _spliced(one: str, other: str) -> str:
    """The claims of one under the signature of another."""
    return ".".join((one.split(".")[0], one.split(".")[1], other.split(".")[2]))


@pytest.mark.parametrize("case", GOOD)
def test_good(server: Running, review: Review, case: str) -> None:
    """By both."""
    call = Call(good_csr(), bearer(GOOD[case](review)))
    marks = Marks.of(server)
    check_success(server, marks, call, server.send(call))


@pytest.mark.parametrize("case", BAD)
def test_bad(server: Running, review: Review, case: str) -> None:
    """By both, with the same code; the reasons are each one's own."""
    call = Call(good_csr(), bearer(BAD[case](review)))
    marks = Marks.of(server)
    check_refusal(server, marks, call, server.send(call), "AuthenticationFailed", "")


@pytest.mark.parametrize("case", STRICTER)
def test_stricter(offline: Running, review: Review, case: str) -> None:
    """Offline alone."""
    call = Call(good_csr(), bearer(STRICTER[case](review)))
    marks = Marks.of(offline)
    check_refusal(offline, marks, call, offline.send(call), "AuthenticationFailed", "offline token: ")


def test_a_deleted_pods_token_dies_within_two_seconds(offline: Running, review: Review) -> None:
    """TokenReview itself takes ten."""
    token = review.pod_token(pod="short-lived")
    call = Call(good_csr(), bearer(token))
    assert offline.send(call).code == "OK"
    review.kube.delete_pod(NAMESPACE, "short-lived")
    deleted = time.monotonic()
    while offline.send(call).code == "OK":
        assert time.monotonic() - deleted < 2.0
        time.sleep(0.05)
    assert offline.send(call).code == "UNAUTHENTICATED"


def test_the_way_it_was_proven_is_audited(offline: Running, review: Review) -> None:
    """With the pod's node."""
    call = Call(good_csr(), bearer(review.pod_token()))
    marks = Marks.of(offline)
    line = check_success(offline, marks, call, offline.send(call))
    assert (line["method"], line["pod"]["node"]) == ("offline", "node-1")
