"""Throw-away certificate authorities; every field of what they issue can be bent."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from signer.core.validity import Window
from tests.support import der
from tests.support.clock import DAY, HOUR, NOW

Key: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
Extension: TypeAlias = tuple[x509.ExtensionType, bool]

SHA256 = hashes.SHA256()
CA_WINDOW: Window = (NOW - 30 * DAY, NOW + 300 * DAY)
_CURVES: dict[str, ec.EllipticCurve] = {
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}
_serials = count(1000)


@cache
def key(name: str) -> Key:
    """A key of a kind, such as ``p256``, ``rsa2048`` or ``ed25519``; ``p256/x`` is another one. Made once."""
    kind = name.partition("/")[0]
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ed448.Ed448PrivateKey.generate()


def spki(private: Key) -> bytes:
    """The public half as DER."""
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_pem(private: Key) -> bytes:
    """The private half as PKCS#8."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def name(text: str) -> x509.Name:
    """A name with one CN; empty for an empty text."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def usage(*on: str) -> x509.KeyUsage:
    """A keyUsage with these bits, spelled as the library's arguments."""
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{bit: bit in on for bit in every.split()})


def san(*uris: str) -> x509.SubjectAlternativeName:
    """A subjectAltName of URIs."""
    return x509.SubjectAlternativeName(list(map(x509.UniformResourceIdentifier, uris)))


BOTH_ROLES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
CA_EXTENSIONS: tuple[Extension, ...] = (
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (usage("key_cert_sign", "crl_sign"), True),
)


def leaf_extensions(*uris: str) -> tuple[Extension, ...]:
    """What a good leaf has."""
    return (
        (usage("digital_signature"), True),
        (BOTH_ROLES, False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (san(*uris), True),
    )


def changed(
    extensions: Sequence[Extension], *new: Extension, without: tuple[type[x509.ExtensionType], ...] = ()
) -> tuple[Extension, ...]:
    """Replace extensions by those of the same type, add the others, leave out ``without``."""
    gone = (*(type(value) for value, _ in new if not isinstance(value, x509.UnrecognizedExtension)), *without)
    return (*(e for e in extensions if not isinstance(e[0], gone)), *new)


@dataclass(frozen=True, slots=True)
class Ca:
    """A certificate that issues, and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


def make_ca(
    title: str,
    parent: Ca | None = None,
    *,
    kind: str = "p256",
    window: Window = CA_WINDOW,
    extensions: Sequence[Extension] = CA_EXTENSIONS,
) -> Ca:
    """A CA certificate: self-signed without a parent. Its key is its own: one per title and kind."""
    own = key(f"{kind}/{title}")
    issuer = name(title) if parent is None else parent.certificate.subject
    made = certificate(
        name(title), spki(own), issuer, own if parent is None else parent.key, window=window, extensions=extensions
    )
    return Ca(made, own)


@dataclass(frozen=True, slots=True)
class Quirk:
    """What a certificate has of its own beside names, key and extensions.

    Attributes:
        digest: Of the signature.
        claimed: The digest that the signed part names, where it is another one.
        serial: Where it is not the next one.
    """

    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    claimed: hashes.HashAlgorithm | None = None
    serial: int | None = None


PLAIN = Quirk()


def make_leaf(
    parent: Ca,
    public: bytes,
    extensions: Sequence[Extension],
    *,
    subject: str = "",
    window: Window = (NOW - timedelta(seconds=60), NOW + HOUR),
    quirk: Quirk = PLAIN,
) -> x509.Certificate:
    """A leaf over any SubjectPublicKeyInfo."""
    issuer = parent.certificate.subject
    return certificate(name(subject), public, issuer, parent.key, window=window, extensions=extensions, quirk=quirk)


def certificate(
    subject: x509.Name,
    public: bytes,
    issuer: x509.Name,
    signer: Key,
    *,
    window: Window,
    extensions: Sequence[Extension] = (),
    quirk: Quirk = PLAIN,
) -> x509.Certificate:
    """Any certificate (RFC 5280 section 4.1)."""
    names = (issuer.public_bytes(), der.sequence(*map(der.time, window)), subject.public_bytes())
    body = der.sequence(
        der.context(0, der.integer(2)),
        der.integer(next(_serials) if quirk.serial is None else quirk.serial),
        der.algorithm(signer, quirk.claimed or quirk.digest),
        *names,
        public,
        der.context(3, der.sequence(*(der.extension(*e) for e in extensions))) if extensions else b"",
    )
    signature = der.bits(der.sign(signer, body, quirk.digest))
    return x509.load_der_x509_certificate(der.sequence(body, der.algorithm(signer, quirk.digest), signature))


def without_a_version(ca: Ca) -> bytes:
    """The PEM of a certificate changed to X.509 version 9, which does not exist; no parser takes it."""
    data = ca.certificate.public_bytes(Encoding.DER)
    v3, v9 = der.context(0, der.integer(2)), der.context(0, der.integer(8))
    text = base64.encodebytes(data.replace(v3, v9, 1)).decode("ascii")
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n".encode()
