"""Tokens that a cluster would never issue, signed with its own key: expired ones, ones not valid yet, other claims."""

import time
from pathlib import Path
from typing import Any

import jwt


def resign(token: str, service_account_key: Path, **changes: object) -> str:
    """The same token with other claims, under a good signature; a change to None removes the claim.

    Raises:
        ValueError: the key file holds no private key.
        jwt.InvalidTokenError: `token` is not a token.
    """
    claims = unverified_claims(token) | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    header = jwt.get_unverified_header(token)
    return jwt.encode(kept, service_account_key.read_text(), header["alg"], headers={"kid": header["kid"]})


def expired(token: str, service_account_key: Path, ago: int = 60) -> str:
    """The same token, but of an hour that ended `ago` seconds before now. Errors: see `resign`."""
    end = int(time.time()) - ago
    return resign(token, service_account_key, iat=end - 3600, nbf=end - 3600, exp=end)


def unverified_claims(token: str) -> dict[str, Any]:
    """What a token says, unchecked. Errors: see `resign`."""
    return jwt.decode(token, options={"verify_signature": False})
