"""Builds CSRs (RFC 2986) from parts, each of which may be wrong."""

import base64
import textwrap
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from signer.core.csr import ParsedCsr, parse_csr
from signer.core.csr_rules import CheckedCsr, check_csr
from signer.core.identity import SpiffeId
from tests.support import der
from tests.support.pki import SHA256, Key, key, san, spki

URI = "spiffe://cluster.local/ns/payments/sa/api"
IDENTITY = SpiffeId.parse(URI)

EMPTY_NAME = der.sequence()
# An RDN is there, and its value is empty: what Go's encoder makes of pkix.Name{Organization: []string{""}}.
EMPTY_ORGANIZATION = der.attribute("2.5.4.10", der.tlv(0x13))

EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
MS_EXTENSION_REQUEST = "1.3.6.1.4.1.311.2.1.14"
SAN_OID = "2.5.29.17"


def wants(*uris: str, critical: bool = False) -> bytes:
    """A subjectAltName of URIs, encoded."""
    return der.extension(san(*uris), critical)


def wants_raw(*uris: bytes) -> bytes:
    """The same with bytes that no IA5String should have."""
    names = (der.context(6, uri, constructed=False) for uri in uris)
    return der.raw_extension(SAN_OID, der.sequence(*names))


def request_of(*extensions: bytes, kind: str = EXTENSION_REQUEST) -> bytes:
    """An extensionRequest attribute."""
    return der.sequence(der.oid(kind), der.set_of(der.sequence(*extensions)))


def csr_der(
    *extensions: bytes,
    by: str = "p256/csr",
    subject: bytes = EMPTY_NAME,
    attributes: bytes | None = None,
    public: bytes | None = None,
    signer: str | None = None,
    digest: hashes.HashAlgorithm = SHA256,
    version: int = 0,
) -> bytes:
    """A CSR with these extensions.

    Args:
        extensions: What it asks for, encoded.
        by: Whose CSR it is: the name of a key.
        subject: The encoded name.
        attributes: Encoded, instead of one extensionRequest with ``extensions``.
        public: The SubjectPublicKeyInfo, instead of that of ``by``.
        signer: The name of the key that signs, instead of ``by``.
        digest: Of the signature.
        version: 0 is the only one that exists.
    """
    signing: Key = key(signer or by)
    if attributes is None:
        attributes = request_of(*extensions) if extensions else b""
    body = der.sequence(der.integer(version), subject, public or spki(key(by)), der.context(0, attributes))
    return der.sequence(body, der.algorithm(signing, digest), der.bits(der.sign(signing, body, digest)))


def pem(data: bytes, label: str = "CERTIFICATE REQUEST", newline: str = "\n") -> str:
    """PEM of 64 columns."""
    lines = textwrap.wrap(base64.b64encode(data).decode("ascii"), 64)
    return newline.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def extended_usage(*usages: x509.ObjectIdentifier) -> bytes:
    """An extendedKeyUsage, encoded."""
    return der.extension(x509.ExtendedKeyUsage(usages))


@cache
def good_csr(by: str = "p256/csr", uri: str = URI) -> str:
    """A CSR that passes every rule for ``uri``."""
    return pem(csr_der(wants(uri), by=by))


@cache
def parsed_csr(by: str = "p256/csr", uri: str = URI) -> ParsedCsr:
    """The same, parsed."""
    return parse_csr(good_csr(by, uri))


@cache
def checked_csr(by: str = "p256/csr", uri: str = URI) -> CheckedCsr:
    """The same, checked for that identity."""
    return check_csr(parsed_csr(by, uri), SpiffeId.parse(uri))
