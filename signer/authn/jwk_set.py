"""A JWK set (RFC 7517) as a table of keys: which can verify tokens, and by which one algorithm each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey

MAX_KEYS = 100
MIN_RSA_BITS = 2048
# Verification runs on the event loop, and its cost grows with the square of this.
MAX_RSA_BITS = 8192
# By kty and crv: the algorithms (RFC 7518, section 3.1) that a key may be for; the first one where it does not say.
_FITTING: dict[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): ("RS256", "RS384", "RS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
}
# The public members alone (RFC 7518, section 6): a private key that somebody published is no private key here.
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")
_VERIFIERS: dict[str, RSAAlgorithm | ECAlgorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512),
}


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key and the one algorithm that it is for: a token does not choose."""

    key: PublicKey
    algorithm: str

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Tell whether this key's owner signed these bytes."""
        verifier: Any = _VERIFIERS[self.algorithm]
        return verifier.verify(signed, self.key, signature) is True


def parse_jwks(document: object) -> dict[str, VerifyKey]:
    """Read a key set, by key id; keys that cannot verify tokens are skipped. Of two with one id the first counts.

    Raises:
        ValueError: It is no key set, or one of over ``MAX_KEYS`` keys.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("the document is no JWK set")
    if len(listed) > MAX_KEYS:
        raise ValueError(f"the JWK set has {len(listed)} keys; {MAX_KEYS} are allowed")
    found: dict[str, VerifyKey] = {}
    for jwk in listed:
        key, kid = _usable(jwk), jwk.get("kid") if isinstance(jwk, dict) else None
        if key is not None and isinstance(kid, str) and kid:
            found.setdefault(kid, key)
    return found


def _usable(jwk: object) -> VerifyKey | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    fitting = _FITTING.get((str(jwk.get("kty")), str(jwk.get("crv")) if jwk.get("kty") == "EC" else ""), ())
    algorithm = jwk.get("alg", fitting[0] if fitting else None)
    if algorithm not in fitting:
        return None
    try:
        key = jwt.PyJWK({name: jwk[name] for name in _PUBLIC if name in jwk}, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return VerifyKey(key, algorithm) if _strong(key) else None


def _strong(key: object) -> bool:
    if isinstance(key, RSAPublicKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey)
