"""Just enough DER (X.690) to write what a careful library refuses to write."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

NULL = b"\x05\x00"
_GENERALIZED_FROM = 2050


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element: tag, length, value."""
    value = b"".join(parts)
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + value


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE."""
    return tlv(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    """SET OF."""
    return tlv(0x31, *parts)


def integer(value: int) -> bytes:
    """INTEGER, in as few bytes as it needs."""
    size = (value + (value < 0)).bit_length() // 8 + 1
    return tlv(0x02, value.to_bytes(size, "big", signed=True))


def octets(value: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(0x04, value)


def bits(value: bytes) -> bytes:
    """BIT STRING of whole bytes."""
    return tlv(0x03, b"\x00", value)


def context(number: int, *parts: bytes, constructed: bool = True) -> bytes:
    """A context-specific element."""
    return tlv(0x80 | (0x20 if constructed else 0) | number, *parts)


def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    return tlv(0x06, b"".join(map(_base128, (40 * first + second, *rest))))


def _base128(arc: int) -> bytes:
    groups = [arc & 0x7F]
    while arc := arc >> 7:
        groups.append(0x80 | arc & 0x7F)
    return bytes(reversed(groups))


def time(moment: datetime) -> bytes:
    """UTCTime or GeneralizedTime, as RFC 5280 section 4.1.2.5 has it."""
    if moment.year < _GENERALIZED_FROM:
        return tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode())


def extension(value: x509.ExtensionType, critical: bool = False) -> bytes:
    """One Extension."""
    return raw_extension(value.oid.dotted_string, value.public_bytes(), critical)


def raw_extension(dotted: str, value: bytes, critical: bool = False) -> bytes:
    """One Extension whose value is given as it is."""
    return sequence(oid(dotted), b"\x01\x01\xff" if critical else b"", octets(value))


def attribute(kind: str, value: bytes) -> bytes:
    """A name with one attribute whose value is given as it is, tag included."""
    return sequence(set_of(sequence(oid(kind), value)))


_ECDSA = {
    "sha1": "1.2.840.10045.4.1",
    "sha224": "1.2.840.10045.4.3.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha3-256": "2.16.840.1.101.3.4.3.10",
}
_RSA = {"md5": "1.2.840.113549.1.1.4", "sha1": "1.2.840.113549.1.1.5", "sha256": "1.2.840.113549.1.1.11"}


def algorithm(key: object, digest: hashes.HashAlgorithm) -> bytes:
    """The AlgorithmIdentifier of a signature by ``key``."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return sequence(oid(_ECDSA[digest.name]))
    if isinstance(key, rsa.RSAPrivateKey):
        return sequence(oid(_RSA[digest.name]), NULL)
    return sequence(oid("1.3.101.112" if isinstance(key, ed25519.Ed25519PrivateKey) else "1.3.101.113"))


def sign(key: object, data: bytes, digest: hashes.HashAlgorithm) -> bytes:
    """A signature by ``key``."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(digest))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), digest)
    assert isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return key.sign(data)
