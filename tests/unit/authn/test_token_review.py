"""TokenReview: what the API server may answer, and what is made of it."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from signer.authn.token_review import PATH, ReviewPolicy, TokenReviewer, caller_of, try_review
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, SignerError
from signer.core.identity import TrustDomain
from signer.core.types import PodRef
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi
from tests.support.fakes import CALLER, IDENTITY

TOKEN = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"
POLICY = ReviewPolicy("Kubernetes", TrustDomain("cluster.local"), ["istio-ca"])
EXTRA = "authentication.kubernetes.io/"
POD = {EXTRA + "pod-name": ["api-0"], EXTRA + "pod-uid": ["uid-0"], EXTRA + "node-name": ["node-0"]}
USER: dict[str, Any] = {
    "username": "system:serviceaccount:payments:api",
    "groups": ["system:serviceaccounts", "system:serviceaccounts:payments", "system:authenticated"],
    "extra": POD,
}
STATUS: dict[str, Any] = {"authenticated": True, "audiences": ["istio-ca"], "user": USER}


def _answer(status: object, http: int = 201, kind: object = "TokenReview") -> Answer:
    return Answer(http, {"kind": kind, "status": status})


def _with(**changes: object) -> Answer:
    return _answer({**STATUS, **changes})


def _user(**changes: object) -> Answer:
    return _with(user={**USER, **changes})


def test_good() -> None:
    """A pod's token proves its service account and its pod."""
    assert caller_of(_answer(STATUS), POLICY, TOKEN) == CALLER
    assert CALLER.identity == IDENTITY


REFUSED: dict[str, tuple[Answer, str]] = {
    "error": (_with(authenticated=False, error="token expired"), "TokenReview: 'token expired'"),
    "error first": (_with(error="odd"), "TokenReview: 'odd'"),
    "error with the token": (_with(error=f"bad {TOKEN}!"), "TokenReview: 'bad ***!'"),
    "error with a newline": (_with(error="a\nb"), r"TokenReview: 'a\\nb'"),
    "error of 100 KB": (_with(error="x" * 100_000), "TokenReview: 'xxx"),
    "error as an object": (_with(error={"a": TOKEN}), "TokenReview: "),
    "not authenticated": (_with(authenticated=False), "not authenticated"),
    "authenticated missing": (_answer({}), "not authenticated"),
    "authenticated as a text": (_with(authenticated="true"), "not authenticated"),
    "authenticated as a number": (_with(authenticated=1), "not authenticated"),
    "no audiences": (_with(audiences=None), "none of the audiences"),
    "empty audiences": (_with(audiences=[]), "none of the audiences"),
    "other audience": (_with(audiences=["https://kubernetes.default.svc"]), "none of the audiences"),
    "audiences as a text": (_with(audiences="istio-ca"), "none of the audiences"),
    "audiences as an object": (_with(audiences={"istio-ca": True}), "none of the audiences"),
    "audiences of odd types": (_with(audiences=[None, 1, ["istio-ca"]]), "none of the audiences"),
    "no user": (_with(user=None), "is not in group"),
    "user as a list": (_with(user=[USER]), "is not in group"),
    "group missing": (_user(groups=["system:authenticated"]), "is not in group system:serviceaccounts"),
    "groups as a text": (_user(groups="system:serviceaccounts"), "is not in group"),
    "no groups": (_user(groups=None), "is not in group"),
    "a user": (_user(username="alice"), "is no service account"),
    "a node": (_user(username="system:node:node-0"), "is no service account"),
    "five parts": (_user(username="system:serviceaccount:payments:api:x"), "is no service account"),
    "three parts": (_user(username="system:serviceaccount:payments"), "is no service account"),
    "username as a list": (_user(username=["system:serviceaccount:payments:api"]), "is no service account"),
    "no username": (_user(username=None), "is no service account"),
    "empty namespace": (_user(username="system:serviceaccount::api"), "not a valid namespace"),
    "slash in the account": (_user(username="system:serviceaccount:payments:a/b"), "not a valid service account"),
    "newline in the account": (_user(username="system:serviceaccount:payments:api\n"), "not a valid service account"),
    "username of 100 KB": (_user(username="x" * 100_000), "is no service account"),
}
UNAVAILABLE: dict[str, tuple[Answer, str]] = {
    "401": (_answer(STATUS, 401), "HTTP 401: may this service account create tokenreviews"),
    "403": (_answer(STATUS, 403), "HTTP 403: may this service account create tokenreviews"),
    "404": (_answer(STATUS, 404), "HTTP 404"),
    "409": (_answer(STATUS, 409), "HTTP 409"),
    "429": (_answer(STATUS, 429), "HTTP 429"),
    "500": (_answer(STATUS, 500), "HTTP 500"),
    "503": (_answer(STATUS, 503), "HTTP 503"),
    "another kind": (_answer(STATUS, kind="Status"), "not a TokenReview"),
    "no kind": (_answer(STATUS, kind=None), "not a TokenReview"),
    "no status": (_answer(None), "not a TokenReview"),
    "status as a list": (_answer([STATUS]), "not a TokenReview"),
    "status as a text": (_answer("authenticated"), "not a TokenReview"),
}
_ALL = {
    **{name: (*row, AuthenticationFailed) for name, row in REFUSED.items()},
    **{name: (*row, AuthenticationUnavailable) for name, row in UNAVAILABLE.items()},
}


@pytest.mark.parametrize(("answer", "reason", "kind"), _ALL.values(), ids=_ALL.keys())
def test_no_verdict_or_a_bad_one(answer: Answer, reason: str, kind: type[SignerError]) -> None:
    """Told apart, with a short reason in one line that never holds the token."""
    with pytest.raises(SignerError, match=reason.replace("(", r"\(").replace("***", r"\*\*\*")) as refusal:
        caller_of(answer, POLICY, TOKEN)
    assert type(refusal.value) is kind
    assert TOKEN not in refusal.value.reason
    assert refusal.value.reason.isprintable()
    assert len(refusal.value.reason) < 400


@pytest.mark.parametrize("status", [200, 201])
def test_both_success_codes(status: int) -> None:
    """Servers answer 201; some answer 200."""
    assert caller_of(_answer(STATUS, status), POLICY, TOKEN) == CALLER


def test_one_of_several_audiences() -> None:
    """One that is confirmed is enough."""
    policy = replace(POLICY, audiences=["a", "istio-ca"])
    assert caller_of(_with(audiences=["istio-ca", "x"]), policy, TOKEN) == CALLER


PODS: dict[str, tuple[object, PodRef | None]] = {
    "all": (POD, PodRef("api-0", "uid-0", "node-0")),
    "no node": ({k: v for k, v in POD.items() if "node" not in k}, PodRef("api-0", "uid-0")),
    "no uid": ({k: v for k, v in POD.items() if "uid" not in k}, None),
    "no name": ({k: v for k, v in POD.items() if "pod-name" not in k}, None),
    "none": ({}, None),
    "null": (None, None),
    "a list": ([POD], None),
    "several names": ({**POD, EXTRA + "pod-name": ["a", "b"]}, None),
    "several uids": ({**POD, EXTRA + "pod-uid": ["a", "b"]}, None),
    "empty list": ({**POD, EXTRA + "pod-uid": []}, None),
    "empty name": ({**POD, EXTRA + "pod-name": [""]}, None),
    "a text for a list": ({**POD, EXTRA + "pod-name": "api-0"}, None),
    "a number": ({**POD, EXTRA + "pod-uid": [7]}, None),
}


@pytest.mark.parametrize(("extra", "pod"), PODS.values(), ids=PODS.keys())
def test_pod(extra: object, pod: PodRef | None) -> None:
    """The pod is proven by exactly one name and one uid, or not at all: legacy tokens have none."""
    assert caller_of(_user(extra=extra), POLICY, TOKEN).pod == pod


class FakeApi(KubeApi):
    """An API server that answers from a script; the last line repeats."""

    def __init__(self, *script: Answer | ApiUnavailable) -> None:
        self.script = list(script)
        self.bodies: list[dict[str, Any]] = []
        self.held = False

    async def post(self, path: str, body: dict[str, Any], timeout: float) -> Answer:
        """Answer the next line."""
        assert path == PATH
        self.bodies.append(body)
        if self.held:
            await asyncio.Event().wait()
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(line, ApiUnavailable):
            raise line
        return line


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.0)


async def test_what_is_asked() -> None:
    """The token, for the audiences that are accepted."""
    api = FakeApi(_answer(STATUS))
    assert await TokenReviewer(api, POLICY).judge(TOKEN) == CALLER
    (body,) = api.bodies
    assert body["spec"] == {"token": TOKEN, "audiences": ["istio-ca"]}


async def test_trying_the_way() -> None:
    """Once, with nobody's token and for no audience; the answer is not judged."""
    api = FakeApi(_answer(None, 503))
    assert (await try_review(api, 1.0)).status == 503
    assert api.bodies == [
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nobody"}},
    ]


@pytest.mark.parametrize("hiccup", [ApiUnavailable("reset"), _answer(None, 429), _answer(None, 503)], ids=repr)
async def test_asked_again(hiccup: Answer | ApiUnavailable) -> None:
    """Agents drop what fails once: two hiccups are ridden out."""
    api = FakeApi(hiccup, hiccup, _answer(STATUS))
    assert await TokenReviewer(api, POLICY).judge(TOKEN) == CALLER
    assert len(api.bodies) == 3


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (ApiUnavailable("reset"), 3),
        (ApiUnavailable("no answer", final=True), 1),
        (_answer(None, 503), 3),
        (_answer(None, 403), 1),
    ],
    ids=repr,
)
async def test_given_up(answer: Answer | ApiUnavailable, asked: int) -> None:
    """An outage is told as one, never as a bad token."""
    api = FakeApi(answer)
    with pytest.raises(AuthenticationUnavailable, match="TokenReview: "):
        await TokenReviewer(api, POLICY).judge(TOKEN)
    assert len(api.bodies) == asked


async def test_a_bad_token_is_asked_about_once() -> None:
    """A verdict is a verdict."""
    api = FakeApi(_with(authenticated=False))
    with pytest.raises(AuthenticationFailed):
        await TokenReviewer(api, POLICY).judge(TOKEN)
    assert len(api.bodies) == 1


async def test_an_api_server_that_hangs() -> None:
    """Bounded as a whole."""
    api = FakeApi(_answer(STATUS))
    api.held = True
    with pytest.raises(AuthenticationUnavailable, match=r"no verdict within 0\.01 s"):
        await TokenReviewer(api, replace(POLICY, timeout=0.01)).judge(TOKEN)
