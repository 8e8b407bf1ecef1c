"""Which public keys may be certified, and which keys a CA may sign with: two tables.

Istio's agent makes RSA >= 2048 or ECDSA P-256/P-384 (istio: security/pkg/pki/util/generate_csr.go), ztunnel P-256
(ztunnel: tls/csr.rs). Envoy never loads Ed25519 leaves, and rustls with ring verifies no P-521 signature, so a leaf
or a CA with such a key would break peers only at the next handshake.
"""

from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

MIN_RSA_BITS = 2048
# A bound on the CPU that one stranger's signature check may cost, not on strength.
MAX_RSA_BITS = 8192
# Go's and BoringSSL's bound: a larger one makes each verification slow, and peers refuse the key.
MAX_RSA_EXPONENT_BITS = 32

CURVES: dict[str, str] = {"secp256r1": "P-256", "secp384r1": "P-384"}
_CURVE_HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384]] = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384}

CaPrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

# What ``--key-type`` and the configuration may ask for.
KEY_TYPES = ("p256", "p384", "rsa2048", "rsa3072", "rsa4096")


def generate(key_type: str) -> CaPrivateKey:
    """Make a private key of one of ``KEY_TYPES``.

    Raises:
        ValueError: The type is not in the table.
    """
    if key_type not in KEY_TYPES:
        raise ValueError(f"unknown key type {key_type!r}: use one of {', '.join(KEY_TYPES)}")
    if key_type.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(key_type[3:]))
    return ec.generate_private_key(ec.SECP256R1() if key_type == "p256" else ec.SECP384R1())


def describe(key: PublicKeyTypes) -> str:
    """Name a key for people and metrics: ``P-256``, ``RSA-2048``, or the class of any other."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES.get(key.curve.name, key.curve.name)
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def weakness(key: PublicKeyTypes) -> str | None:
    """Say why a key may not be certified, or None if it may."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.public_numbers().e.bit_length() > MAX_RSA_EXPONENT_BITS:
            return "the RSA key's public exponent is too large"
        if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return None
        return f"RSA keys must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this one has {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return None
    return f"the key is {describe(key)}; allowed are RSA, P-256 and P-384"


def spki(key: PublicKeyTypes) -> bytes:
    """Encode a public key as DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), the form in which keys compare."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signing_hash(key: CaPrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """Pick the hash that matches the strength of a signing key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVE_HASHES[key.curve.name]()
    return hashes.SHA256()


def is_ca_private_key(key: PrivateKeyTypes) -> bool:
    """Tell whether a private key is of a kind that may sign certificates here."""
    return isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) and weakness(key.public_key()) is None


def load_private_key(data: bytes) -> CaPrivateKey:
    """Read a private key in PEM.

    Raises:
        ValueError: It is encrypted, broken, or of a kind that is not used here; the message goes after a file's name.
    """
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("holds no usable, unencrypted private key") from None
    if not is_ca_private_key(key):
        raise ValueError("the key must be RSA (2048 bits or more), P-256 or P-384")
    return key  # type: ignore[return-value]  # narrowed by is_ca_private_key
