"""The trust bundle as a SPIFFE bundle document: a JWK set of X.509 authorities. Pure.

Sources: SPIFFE Trust Domain and Bundle, section 4; RFC 7517 and RFC 7518 section 6; istio ``pkg/spiffe/spiffe.go``,
which reads ``use`` and exactly one ``x5c`` of each key.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from signer.core.chain import TrustBundle
from signer.core.keys import CURVES

REFRESH_SECONDS = 300


def document(bundle: TrustBundle) -> str:
    """Write the document; the same bundle gives the same text on every replica."""
    keys = [jwk(root) for root in bundle.roots]
    return json.dumps({"keys": keys, "spiffe_refresh_hint": REFRESH_SECONDS}, indent=2) + "\n"


def jwk(root: x509.Certificate) -> dict[str, Any]:
    """Describe one root.

    Raises:
        ValueError: Its key is of a kind that no bundle holds (see ``signer.core.anchors``).
    """
    certificate = b64encode(root.public_bytes(Encoding.DER)).decode("ascii")
    return {"use": "x509-svid", **_public(root.public_key()), "x5c": [certificate]}


def _public(key: object) -> dict[str, str]:
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        return {"kty": "RSA", "n": _number(rsa_numbers.n), "e": _number(rsa_numbers.e)}
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        size, numbers = (key.curve.key_size + 7) // 8, key.public_numbers()
        return {
            "kty": "EC",
            "crv": CURVES[key.curve.name],
            "x": _number(numbers.x, size),
            "y": _number(numbers.y, size),
        }
    raise ValueError(f"no JWK is made of a {type(key).__name__}")


def _number(value: int, size: int | None = None) -> str:
    """Base64url without padding, as many bytes as needed or as the curve has (RFC 7518 section 6.2.1.2)."""
    data = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
