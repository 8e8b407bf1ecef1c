"""Audiences are compared whole wherever they are: by the first look, by the claims, of a TokenReview's answer."""

from collections.abc import Callable

import pytest

from signer.authn.claim_rules import CLAIM_RULES, ClaimPolicy
from signer.authn.shape import check_shape
from signer.authn.token_review import ReviewPolicy, caller_of
from signer.core.errors import AuthenticationFailed
from signer.core.identity import TrustDomain
from signer.kube.answer import Answer
from tests.support.clock import NOW
from tests.support.tokens import token

OURS = "istio-ca"
LOOK_ALIKES = [
    "istio-c",
    "istio-ca2",
    "istio-ca/x",
    "an-istio-ca",
    "ISTIO-CA",
    " istio-ca",
    "istio-ca ",
    "istio-ca\n",
    "",
]
USER = {"username": "system:serviceaccount:payments:api", "groups": ["system:serviceaccounts"]}


def _by_first_look(audience: str) -> None:
    check_shape(token(aud=[audience]), (OURS,), NOW)


def _by_claims(audience: str) -> None:
    if fault := dict(CLAIM_RULES)["aud"]({"aud": [audience]}, ClaimPolicy((), (OURS,)), 0.0):
        raise AuthenticationFailed(fault)


def _by_review(audience: str) -> None:
    status = {"authenticated": True, "audiences": [audience], "user": USER}
    policy = ReviewPolicy("Kubernetes", TrustDomain("cluster.local"), (OURS,))
    caller_of(Answer(201, {"kind": "TokenReview", "status": status}), policy, "token")


JUDGES: dict[str, tuple[Callable[[str], None], str]] = {
    "first look": (_by_first_look, "the token is for "),
    "claims": (_by_claims, "accepted are "),
    "review": (_by_review, "none of the audiences "),
}


@pytest.mark.parametrize(("judge", "reason"), JUDGES.values(), ids=JUDGES)
def test_whole_or_not_at_all(judge: Callable[[str], None], reason: str) -> None:
    judge(OURS)
    for audience in LOOK_ALIKES:
        with pytest.raises(AuthenticationFailed, match=reason):
            judge(audience)
