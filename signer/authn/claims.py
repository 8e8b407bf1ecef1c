"""Kubernetes' bound service-account tokens, proven by key and claims: stricter than the API server, never laxer.

Sources: RFC 7519 (claims); kubernetes: pkg/serviceaccount/claims.go. The rules: claim_rules.py. What only
the API server knows, whether pod and account still live, is not asked here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from signer.authn.claim_rules import CLAIM_RULES, FORM_RULES, K8S, READ_ELSEWHERE, ClaimPolicy, Rules
from signer.authn.compact import Json, Unproven, bad, key_id
from signer.authn.foreign import account_of
from signer.authn.jwk_set import VerifyKey
from signer.core.types import PodRef

_LEGACY = "kubernetes.io/serviceaccount/"
# What API servers sign with (kubernetes: pkg/serviceaccount/jwt.go, externaljwt/plugin/plugin.go).
_ALGORITHMS = ("RS256", "ES256", "ES384", "ES512")


@dataclass(frozen=True, slots=True)
class ProvenToken:
    """What a token proved.

    Attributes:
        pod: Its pod; None where it is bound to none, or to a Secret too, so that the API server must be asked.
        node: The pod's node, where the API server wrote it into the token.
        expires: When it ends, UTC.
    """

    namespace: str
    service_account: str
    service_account_uid: str
    pod: PodRef | None
    node: str | None
    expires: datetime


def is_legacy(claims: Json) -> bool:
    """Tell a token of a Secret (kubernetes: pkg/serviceaccount/legacy.go): not for offline, only TokenReview knows."""
    return K8S not in claims and any(name.startswith(_LEGACY) for name in claims)


def check_form(token: Unproven) -> None:
    """Check what needs neither key nor clock, for those who leave the rest to the API server. Legacy tokens pass.

    The API server reads less of a token than there is in it; what does not agree with itself is nobody's.

    Raises:
        AuthenticationFailed: A bound token is not as Kubernetes makes them.
    """
    if K8S not in token.claims:
        return
    key_id(token)
    if token.header["alg"] not in _ALGORITHMS:
        raise bad("alg", f"none of {', '.join(_ALGORITHMS)}")
    _hold(FORM_RULES, token.claims, ClaimPolicy((), ()), 0.0)


def prove(token: Unproven, key: VerifyKey, policy: ClaimPolicy, now: datetime) -> ProvenToken:
    """Check the signature, then every claim.

    Raises:
        AuthenticationFailed: One is not as it must be.
    """
    if token.header.get("alg") != key.algorithm:
        raise bad("alg", f"the key is for {key.algorithm} only")
    if not key.verifies(token.signed, token.signature):
        raise bad("signature", "not by the issuer's key")
    _hold(CLAIM_RULES + READ_ELSEWHERE, token.claims, policy, now.timestamp())
    return _proven(token.claims)


def _hold(rules: Rules, claims: Json, policy: ClaimPolicy, now: float) -> None:
    for rule, fault in rules:
        if text := fault(claims, policy, now):
            raise bad(rule, text)


def _proven(claims: Json) -> ProvenToken:
    namespace, account = account_of(claims["sub"])
    bound = claims[K8S]
    node = bound["node"]["name"] if "node" in bound else None
    pod = PodRef(bound["pod"]["name"], bound["pod"]["uid"], node) if "pod" in bound and "secret" not in bound else None
    expires = datetime.fromtimestamp(claims["exp"], UTC)
    return ProvenToken(namespace, account, bound["serviceaccount"]["uid"], pod, node, expires)
