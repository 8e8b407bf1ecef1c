"""Kubernetes' bound service-account tokens, proven by key and claims: stricter than the API server, never laxer.

Sources: RFC 7519 (claims); kubernetes: pkg/serviceaccount/claims.go. What only the API server
knows, whether pod and account still live, is not asked here.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from signer.authn.compact import Json, Unproven, bad
from signer.authn.jwk_set import VerifyKey
from signer.core.identity import InvalidIdentity, check_namespace, check_service_account
from signer.core.types import PodRef

# Clocks differ. None for exp: the API server grants a minute there (go-jose's DefaultLeeway), and less is stricter.
LEEWAY_SECONDS = 60
_MAX_NAME = 253
_YEAR_10000 = 253_402_300_800
_K8S = "kubernetes.io"
_LEGACY = "kubernetes.io/serviceaccount/"


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """Whose tokens are good, and for which audiences, of which a token must have one."""

    issuers: Collection[str]
    audiences: Collection[str]


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


def prove(token: Unproven, key: VerifyKey, policy: ClaimPolicy, now: datetime) -> ProvenToken:
    """Check the signature, then every claim.

    Raises:
        AuthenticationFailed: One is not as it must be.
    """
    if token.header.get("alg") != key.algorithm:
        raise bad("alg", f"the key is for {key.algorithm} only")
    if not key.verifies(token.signed, token.signature):
        raise bad("signature", "not by the issuer's key")
    for rule, fault in CLAIM_RULES:
        if text := fault(token.claims, policy, now.timestamp()):
            raise bad(rule, text)
    return _proven(token.claims)


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
    if type(end) is not int or end >= _YEAR_10000:
        return "not a whole number of seconds"
    return None if now < end + LEEWAY_SECONDS else "the token has expired"


def _begun(name: str) -> Callable[[Json, ClaimPolicy, float], str | None]:
    def fault(claims: Json, _: ClaimPolicy, now: float) -> str | None:
        start = claims.get(name)
        if type(start) is not int:
            return "not a whole number of seconds"
        return None if start <= now + LEEWAY_SECONDS else "in the future"

    return fault


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
CLAIM_RULES: tuple[tuple[str, Callable[[Json, ClaimPolicy, float], str | None]], ...] = (
    ("iss", _issuer),
    ("aud", _audience),
    ("exp", _expiry),
    ("nbf", _begun("nbf")),
    ("iat", _begun("iat")),
    ("sub", _subject),
    ("kubernetes.io", _bound),
    ("kubernetes.io namespace", _same_namespace),
    ("kubernetes.io serviceaccount", _same_account),
    ("kubernetes.io pod", _reference("pod", "name", "uid")),
    ("kubernetes.io node", _reference("node", "name")),
)
