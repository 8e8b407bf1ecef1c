"""Tokens in compact form (RFC 7515, section 3.1) taken apart; nothing in them is believed here.

Strict where readers differ: what this reader takes for a token's header and claims, every other one must too.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from signer.authn.shape import MAX_TOKEN_CHARS
from signer.core.errors import AuthenticationFailed

MAX_DEPTH = 8
PREFIX = "offline token: "
# All that Kubernetes writes (kubernetes: pkg/serviceaccount/jwt.go, externaljwt/plugin/plugin.go).
_HEADER = frozenset({"alg", "kid", "typ"})
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unproven:
    """A token taken apart, believed in nothing. ``signed`` are the bytes that ``signature`` is over."""

    header: Json
    claims: Json
    signed: bytes
    signature: bytes


# Every rule must hold; each gives its fault.
HEADER_RULES: tuple[tuple[str, Callable[[Json], str | None]], ...] = (
    # Nothing critical is understood here (RFC 7515, section 4.1.11), nor what other readers heed without it: b64, jwk.
    ("crit", lambda header: None if header.keys() <= _HEADER else "more than alg, kid and typ is not understood"),
    ("typ", lambda header: None if header.get("typ", "JWT") == "JWT" else "not JWT"),
    ("alg", lambda header: None if isinstance(header.get("alg"), str) else "no text"),
    ("kid", lambda header: None if isinstance(header.get("kid"), str) and header["kid"] else "no text"),
)


def split(token: str) -> Unproven:
    """Take a token apart.

    Raises:
        AuthenticationFailed: It is no signed JWT in compact form, or its JSON is ambiguous or too deep.
    """
    parts = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN_CHARS else None
    if parts is None:
        raise bad("shape", "not a JWT in compact form, or too long")
    try:
        header, claims, signature = map(_decoded, parts.groups())
    except ValueError:
        raise bad("shape", "not base64url") from None
    return Unproven(_json("header", header), _json("payload", claims), f"{parts[1]}.{parts[2]}".encode(), signature)


def key_id(token: Unproven) -> str:
    """Read which key a token says it was signed with; unproven.

    Raises:
        AuthenticationFailed: Its header is not one that is accepted.
    """
    for rule, fault in HEADER_RULES:
        if text := fault(token.header):
            raise bad(rule, text)
    return str(token.header["kid"])


def bad(rule: str, text: str) -> AuthenticationFailed:
    """Make the error of a rule that does not hold; the text quotes what is foreign cut and escaped."""
    return AuthenticationFailed(f"{PREFIX}{rule}: {text}")


def _decoded(segment: str) -> bytes:
    """Refuse bits that say nothing: go-jose verifies what it encodes again, not what was sent."""
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=") != segment.encode():
        raise ValueError("bits left over")
    return data


def _json(what: str, data: bytes) -> Json:
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unambiguous, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise bad(what, "not JSON, or a name occurs twice") from None
    if not isinstance(value, dict) or _deeper(value, MAX_DEPTH):
        raise bad(what, f"not a JSON object of {MAX_DEPTH} levels at most")
    return value


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that occurs twice: readers differ on which one counts (RFC 8259, section 4).

    To Go's own reader, which the API server has look for the issuer, upper and lower case are one.
    """
    if len({name.casefold() for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(item, levels - 1) for item in inner)
