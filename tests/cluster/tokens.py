"""Tokens that a cluster would never issue, most signed with its own key: expired ones, other claims, odd bytes."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


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


def headed(token: str, key: Path | str, **changes: object) -> str:
    """The same claims under another header, signed as the header says; a change to None removes the member."""
    header = jwt.get_unverified_header(token) | changes
    kept = {name: value for name, value in header.items() if value is not None}
    return signed(json.dumps(kept).encode(), base64url_decoded(token.split(".")[1]), key, str(kept.get("alg")))


def signed(header: bytes, payload: bytes, key: Path | str, algorithm: str = "RS256") -> str:
    """A token of any bytes, under a good signature by a private key in PEM; algorithms without one get RS256."""
    return sealed(f"{base64url(header)}.{base64url(payload)}", key, algorithm)


def sealed(text: str, key: Path | str, algorithm: str = "RS256") -> str:
    """Any text with a good signature over it behind it; as for `signed`."""
    pem = key.read_text() if isinstance(key, Path) else key
    signer = jwt.get_algorithm_by_name(algorithm if algorithm[:2] in ("RS", "PS") else "RS256")
    return f"{text}.{base64url(signer.sign(text.encode(), signer.prepare_key(pem)))}"


def with_public_key_as_secret(token: str, service_account_key: Path, encoding: Encoding) -> str:
    """The same claims under HS256, with the public key's bytes for a secret: the old trick (CVE-2015-9235)."""
    public = load_pem_private_key(service_account_key.read_bytes(), None).public_key()
    secret = public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    header = {**jwt.get_unverified_header(token), "alg": "HS256"}
    text = f"{base64url(json.dumps(header).encode())}.{token.split('.')[1]}"
    return f"{text}.{base64url(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def with_payload(token: str, key: Path | str, payload: bytes) -> str:
    """Any bytes for claims, under the same header and a good signature."""
    return sealed(f"{token.split('.')[0]}.{base64url(payload)}", key)


def in_bound(token: str, **changes: object) -> Mapping[str, object]:
    """The token's kubernetes.io claim with other members; a change to None removes one. Errors: see `resign`."""
    members = {**unverified_claims(token)["kubernetes.io"], **changes}
    return {name: value for name, value in members.items() if value is not None}


def base64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def base64url_decoded(text: str) -> bytes:
    """The reverse."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def with_bits_left_over(segment: str) -> str:
    """Another text of the same bytes: the last letter's unused bits are set. The bytes must not fill whole letters."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(segment) % 4, "no bits are left over"
    return segment[:-1] + letters[letters.index(segment[-1]) + 1]
