"""Kubernetes' bound service-account tokens, proven by key and claims: stricter than the API server, never laxer.

Sources: RFC 7519 (claims); kubernetes: pkg/serviceaccount/claims.go. What only the API server
knows, whether pod and account still live, is not asked here.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, TypeGuard

from signer.authn.compact import Json, Unproven, bad, key_id
from signer.authn.jwk_set import VerifyKey
from signer.core.identity import InvalidIdentity, check_namespace, check_service_account
from signer.core.types import PodRef

# Clocks differ. None for exp: the API server grants a minute there (go-jose's DefaultLeeway), and less is stricter.
LEEWAY_SECONDS = 60
_MAX_NAME = 253
_YEAR_10000 = 253_402_300_800
_NO_TIME = "not a whole number of seconds"
_K8S = "kubernetes.io"
_LEGACY = "kubernetes.io/serviceaccount/"
# What API servers sign with (kubernetes: pkg/serviceaccount/jwt.go, externaljwt/plugin/plugin.go).
_ALGORITHMS = ("RS256", "ES256", "ES384", "ES512")


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """Whose tokens are good, and for which audiences, of which a token must have one."""

    issuers: Collection[str]
    audiences: Collection[str]


Rules: TypeAlias = tuple[tuple[str, Callable[[Json, ClaimPolicy, float], str | None]], ...]


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
    return _K8S not in claims and any(name.startswith(_LEGACY) for name in claims)


def check_form(token: Unproven) -> None:
    """Check what needs neither key nor clock, for those who leave the rest to the API server. Legacy tokens pass.

    The API server reads less of a token than there is in it; what does not agree with itself is nobody's.

    Raises:
        AuthenticationFailed: A bound token is not as Kubernetes makes them.
    """
    if _K8S not in token.claims:
        return
    key_id(token)
    if token.header["alg"] not in _ALGORITHMS:
        raise bad("alg", f"none of {', '.join(_ALGORITHMS)}")
    for name in ("exp", "nbf", "iat"):
        if not _is_time(token.claims.get(name)):
            raise bad(name, _NO_TIME)
    _hold(BOUND_RULES + READ_ELSEWHERE, token.claims, ClaimPolicy((), ()), 0.0)


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


def _issuer(claims: Json, policy: ClaimPolicy, _: float) -> str | None:
    issuer = claims.get("iss")
    good = isinstance(issuer, str) and issuer in policy.issuers
    return None if good else f"{_quoted(issuer)} is not an accepted issuer"


def _audience(claims: Json, policy: ClaimPolicy, _: float) -> str | None:
    claim = claims.get("aud")
    audiences = [claim] if isinstance(claim, str) else claim
    if not isinstance(audiences, list) or not audiences or not all(isinstance(one, str) for one in audiences):
        return "neither a text nor a list of texts"
    good = set(audiences) & set(policy.audiences)
    return None if good else f"{_quoted(claim)}, accepted are {sorted(policy.audiences)}"


def _expiry(claims: Json, _: ClaimPolicy, now: float) -> str | None:
    end = claims.get("exp")
    if not _is_time(end):
        return _NO_TIME
    return None if now < end + LEEWAY_SECONDS else "the token has expired"


def _begun(name: str) -> Callable[[Json, ClaimPolicy, float], str | None]:
    def fault(claims: Json, _: ClaimPolicy, now: float) -> str | None:
        start = claims.get(name)
        if not _is_time(start):
            return _NO_TIME
        return None if start <= now + LEEWAY_SECONDS else "in the future"

    return fault


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _YEAR_10000


def _subject(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    subject = claims.get("sub")
    parts = subject.split(":") if isinstance(subject, str) else []
    if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"]:
        return f"{_quoted(subject)} is no service account"
    try:
        check_namespace(parts[2])
        check_service_account(parts[3])
    except InvalidIdentity as error:
        return str(error)
    return None


def _bound(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    return None if isinstance(claims.get(_K8S), dict) else "missing, or not an object"


def _same_namespace(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    return None if claims[_K8S].get("namespace") == claims["sub"].split(":")[2] else "not that of sub"


def _same_account(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    account = claims[_K8S].get("serviceaccount")
    if not isinstance(account, dict) or not _is_name(account.get("uid")):
        return "no object with a uid"
    return None if account.get("name") == claims["sub"].split(":")[3] else "not that of sub"


def _reference(kind: str, *members: str) -> Callable[[Json, ClaimPolicy, float], str | None]:
    def fault(claims: Json, _: ClaimPolicy, __: float) -> str | None:
        if kind not in claims[_K8S]:
            return None
        value = claims[_K8S][kind]
        good = isinstance(value, dict) and all(_is_name(value.get(member)) for member in members)
        return None if good else f"no object with {' and '.join(members)}"

    return fault


def _fits(path: tuple[str, ...], kind: type) -> Callable[[Json, ClaimPolicy, float], str | None]:
    """What is not used here must be of the type that the API server reads it as, or be absent: it refuses the rest."""

    def fault(claims: Json, _: ClaimPolicy, __: float) -> str | None:
        value: object = claims
        for name in path:
            if not isinstance(value, Mapping) or name not in value:
                return None
            value = value[name]
        return None if type(value) is kind else "of another type than the API server's"

    return fault


def _is_name(value: object) -> bool:
    """What may go into a URL's path or a log's line; exact names are the API server's business."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isascii() and value.isprintable()


def _quoted(value: object) -> str:
    return ascii(str(value)[:100])


def _proven(claims: Json) -> ProvenToken:
    _, _, namespace, account = claims["sub"].split(":")
    bound = claims[_K8S]
    node = bound["node"]["name"] if "node" in bound else None
    pod = PodRef(bound["pod"]["name"], bound["pod"]["uid"], node) if "pod" in bound and "secret" not in bound else None
    expires = datetime.fromtimestamp(claims["exp"], UTC)
    return ProvenToken(namespace, account, bound["serviceaccount"]["uid"], pod, node, expires)


# Every rule must hold; each gives its fault. In order: later ones read what earlier ones have checked.
BOUND_RULES: Rules = (
    ("sub", _subject),
    ("kubernetes.io", _bound),
    ("kubernetes.io namespace", _same_namespace),
    ("kubernetes.io serviceaccount", _same_account),
    ("kubernetes.io pod", _reference("pod", "name", "uid")),
    ("kubernetes.io node", _reference("node", "name")),
)
CLAIM_RULES: Rules = (
    ("iss", _issuer),
    ("aud", _audience),
    ("exp", _expiry),
    ("nbf", _begun("nbf")),
    ("iat", _begun("iat")),
    *BOUND_RULES,
)
READ_ELSEWHERE: Rules = (
    ("jti", _fits(("jti",), str)),
    ("kubernetes.io warnafter", _fits((_K8S, "warnafter"), int)),
    ("kubernetes.io node uid", _fits((_K8S, "node", "uid"), str)),
    ("kubernetes.io secret", _reference("secret", "name", "uid")),
)
