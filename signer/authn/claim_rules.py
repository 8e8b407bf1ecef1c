"""The rules of Kubernetes' bound service-account tokens, as tables: each looks at the claims and gives its fault.

Sources: RFC 7519 (claims); kubernetes: pkg/serviceaccount/claims.go. Stricter than the API server, never laxer.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from signer.authn.compact import Json
from signer.authn.foreign import account_of
from signer.core.identity import InvalidIdentity, check_namespace, check_service_account

# Clocks differ. None for exp: the API server grants a minute there (go-jose's DefaultLeeway), and less is stricter.
LEEWAY_SECONDS = 60
_MAX_NAME = 253
_YEAR_10000 = 253_402_300_800
_NO_TIME = "not a whole number of seconds"
K8S = "kubernetes.io"


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """Whose tokens are good, and for which audiences, of which a token must have one."""

    issuers: Collection[str]
    audiences: Collection[str]


Fault: TypeAlias = Callable[[Json, ClaimPolicy, float], str | None]
"""Looks at claims by a policy and the time, Unix seconds; gives what is wrong, None if nothing is."""
Rules: TypeAlias = tuple[tuple[str, Fault], ...]


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


def _begun(name: str) -> Fault:
    def fault(claims: Json, _: ClaimPolicy, now: float) -> str | None:
        start = claims.get(name)
        if not _is_time(start):
            return _NO_TIME
        return None if start <= now + LEEWAY_SECONDS else "in the future"

    return fault


def _timed(name: str) -> Fault:
    return lambda claims, _, __: None if _is_time(claims.get(name)) else _NO_TIME


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _YEAR_10000


def _subject(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    subject = claims.get("sub")
    try:
        namespace, account = account_of(subject)
    except ValueError:
        return f"{_quoted(subject)} is no service account"
    try:
        check_namespace(namespace)
        check_service_account(account)
    except InvalidIdentity as error:
        return str(error)
    return None


def _bound(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    return None if isinstance(claims.get(K8S), dict) else "missing, or not an object"


def _same_namespace(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    return None if claims[K8S].get("namespace") == account_of(claims["sub"])[0] else "not that of sub"


def _same_account(claims: Json, _: ClaimPolicy, __: float) -> str | None:
    account = claims[K8S].get("serviceaccount")
    if not isinstance(account, dict) or not _is_name(account.get("uid")):
        return "no object with a uid"
    return None if account.get("name") == account_of(claims["sub"])[1] else "not that of sub"


def _reference(kind: str, *members: str) -> Fault:
    def fault(claims: Json, _: ClaimPolicy, __: float) -> str | None:
        if kind not in claims[K8S]:
            return None
        value = claims[K8S][kind]
        good = isinstance(value, dict) and all(_is_name(value.get(member)) for member in members)
        return None if good else f"no object with {' and '.join(members)}"

    return fault


def _fits(path: tuple[str, ...], kind: type) -> Fault:
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
    ("kubernetes.io warnafter", _fits((K8S, "warnafter"), int)),
    ("kubernetes.io node uid", _fits((K8S, "node", "uid"), str)),
    ("kubernetes.io secret", _reference("secret", "name", "uid")),
)
# What holds at any time, for any issuer and audience.
FORM_RULES: Rules = (*((name, _timed(name)) for name in ("exp", "nbf", "iat")), *BOUND_RULES, *READ_ELSEWHERE)
