"""Key types: what may be certified, what may certify."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519

from signer.core import keys
from tests.support.pki import key

_STRONG = {"p256": "P-256", "p384": "P-384", "rsa2048": "RSA-2048", "rsa4096": "RSA-4096"}
_WEAK = {
    "p521": "secp521r1",
    "secp256k1": "secp256k1",
    "rsa1024": "RSA-1024",
    "ed25519": "Ed25519",
    "ed448": "Ed448",
}


@pytest.mark.parametrize(("kind", "described"), [*_STRONG.items(), *_WEAK.items()])
def test_describe(kind: str, described: str) -> None:
    """Names for people and metrics."""
    assert keys.describe(key(kind).public_key()) == described


def test_describe_others() -> None:
    """Any other by its class."""
    assert keys.describe(x25519.X25519PrivateKey.generate().public_key()) == "X25519"
    numbers = dsa.DSAPublicNumbers(3, dsa.DSAParameterNumbers((1 << 2047) + 9, (1 << 255) + 95, 2))
    assert keys.describe(numbers.public_key()) == "DSA"


@pytest.mark.parametrize("kind", _STRONG)
def test_strong(kind: str) -> None:
    """May be certified, and may certify."""
    assert keys.weakness(key(kind).public_key()) is None
    assert keys.is_ca_private_key(key(kind))


@pytest.mark.parametrize("kind", _WEAK)
def test_weak(kind: str) -> None:
    """May neither."""
    assert keys.weakness(key(kind).public_key())
    assert not keys.is_ca_private_key(key(kind))


@pytest.mark.parametrize(("bits", "weak"), [(2047, True), (2048, False), (8192, False), (8193, True)])
def test_rsa_sizes(bits: int, weak: bool) -> None:
    """The bounds themselves are allowed."""
    public = rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key()
    assert bool(keys.weakness(public)) is weak


@pytest.mark.parametrize("kind", keys.KEY_TYPES)
def test_generate(kind: str) -> None:
    """Every type that a configuration may name is made, and may certify."""
    made = keys.generate(kind)
    assert keys.is_ca_private_key(made)
    assert keys.describe(made.public_key()).replace("-", "").lower() == kind


def test_generate_unknown() -> None:
    """A type that is not in the table."""
    with pytest.raises(ValueError, match="unknown key type 'p521': use one of p256"):
        keys.generate("p521")


@pytest.mark.parametrize(("kind", "digest"), [("p256", "sha256"), ("p384", "sha384"), ("rsa2048", "sha256")])
def test_signing_hash(kind: str, digest: str) -> None:
    """The hash is as strong as the key."""
    private = key(kind)
    assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    assert keys.signing_hash(private).name == digest


def test_a_large_exponent_is_refused() -> None:
    """Each verification with it would take long, and Go and BoringSSL refuse such a key."""
    modulus = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_numbers().n
    for exponent, good in ((2**31 - 1, True), (2**33 + 1, False)):
        fault = keys.weakness(rsa.RSAPublicNumbers(exponent, modulus).public_key())
        assert (fault is None) is good
