"""A cheap look at a bearer token before anybody is asked about it. It only ever refuses; nothing here is believed."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from signer.core.errors import AuthenticationFailed
from signer.core.ports import Clock
from signer.core.types import Credentials

# Kubernetes' tokens are 1-2 KiB; an API server refuses headers far below this.
MAX_TOKEN_CHARS = 16 * 1024
# The API server is the judge of expiry; only what is past any doubt is refused without asking it.
EXPIRY_LEEWAY = timedelta(seconds=60)

_JWT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of itself, unproven.

    Attributes:
        expires: Its ``exp``; None where it has none that can be read.
        audiences: Its ``aud``; None where it has none.
    """

    expires: datetime | None
    audiences: frozenset[str] | None


def carried(credentials: Credentials) -> str:
    """Take the token that a call carries.

    Raises:
        AuthenticationFailed: There is none.
    """
    if credentials.bearer is None:
        raise AuthenticationFailed("the call carries no bearer token")
    return credentials.bearer.reveal()


def shaped(token: str, audiences: Collection[str], clock: Clock, count: Callable[[str], None]) -> UnverifiedToken:
    """Read what a token says of itself, if it is worth asking about.

    Args:
        token: As it came.
        audiences: Those accepted.
        clock: Its wall clock says what has long expired.
        count: Told ``shape`` for each token that is refused.

    Raises:
        AuthenticationFailed: ``check_shape`` refuses it.
    """
    try:
        return check_shape(token, audiences, clock.now())
    except AuthenticationFailed:
        count("shape")
        raise


def check_shape(token: str, audiences: Collection[str], now: datetime) -> UnverifiedToken:
    """Refuse what cannot be a live token for one of ``audiences``.

    Raises:
        AuthenticationFailed: It is no JWT, long expired, or for somebody else.
    """
    unverified = read(token)
    if unverified.expires is not None and unverified.expires < now - EXPIRY_LEEWAY:
        raise AuthenticationFailed(f"the token expired at {unverified.expires.isoformat()}")
    if unverified.audiences is not None and not unverified.audiences & set(audiences):
        raise AuthenticationFailed(
            f"the token is for {ascii(sorted(unverified.audiences))[:200]}, accepted are {sorted(audiences)}"
        )
    return unverified


def read(token: str) -> UnverifiedToken:
    """Read what a token says of itself.

    Raises:
        AuthenticationFailed: It is no JWT.
    """
    if not token:
        raise AuthenticationFailed("the bearer token is empty")
    if len(token) > MAX_TOKEN_CHARS:
        raise AuthenticationFailed(f"the bearer token has {len(token)} characters; {MAX_TOKEN_CHARS} are allowed")
    parts = _JWT.fullmatch(token)
    if parts is None:
        raise AuthenticationFailed("the bearer token is not a JWT")
    claims = _claims(parts[1])
    return UnverifiedToken(_expires(claims.get("exp")), _audiences(claims.get("aud")))


def _claims(segment: str) -> dict[str, Any]:
    try:
        claims = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise AuthenticationFailed("the bearer token's claims are not JSON") from None
    if not isinstance(claims, dict):
        raise AuthenticationFailed("the bearer token's claims are not a JSON object")
    return claims


def _expires(claim: object) -> datetime | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _audiences(claim: object) -> frozenset[str] | None:
    if isinstance(claim, str):
        return frozenset({claim})
    if isinstance(claim, list) and claim:
        return frozenset(a for a in claim if isinstance(a, str))
    return None
