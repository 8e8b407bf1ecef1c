"""Tokens that nobody signed: their shape is all that matters before a judge sees them."""

import base64
import json

from tests.support.clock import NOW

AUDIENCES = ["istio-ca"]
NOW_SECONDS = int(NOW.timestamp())


def segment(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def raw_token(claims: bytes, header: bytes = b'{"alg":"RS256","kid":"k"}') -> str:
    """A token around bytes that may be no JSON."""
    return f"{segment(header)}.{segment(claims)}.{segment(b'signature')}"


def token(**claims: object) -> str:
    """A token for our audience, good for an hour; claims override, None leaves one out."""
    whole = {"aud": AUDIENCES, "exp": NOW_SECONDS + 3600, **claims}
    return raw_token(json.dumps({name: value for name, value in whole.items() if value is not None}).encode())
