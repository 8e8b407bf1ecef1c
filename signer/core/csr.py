"""A stranger's CSR, first step: prove that it is one CSR and that its sender holds the key.

What it asks for is judged by ``signer.core.csr_rules``.
Sources: RFC 2986 (PKCS#10), RFC 7468 (PEM).
"""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from signer.core import keys
from signer.core.errors import CsrMalformed, CsrRejected
from signer.core.parsing import UNPARSABLE

MAX_CSR_BYTES = 64 * 1024

_BLOCK = re.compile(
    r"\s*-----BEGIN ((?:NEW )?CERTIFICATE REQUEST)-----\r?\n([A-Za-z0-9+/=\r\n]+)\r?\n-----END \1-----\s*"
)
# Microsoft's twin of the extensionRequest attribute; parsers differ in which of the two they read.
_MS_EXTENSION_REQUEST = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")


@dataclass(frozen=True, slots=True)
class ParsedCsr:
    """One well-formed CSR whose signature proves possession of its key; what it asks for is not judged yet.

    Attributes:
        key: The public key.
        digest: SHA-256 of the DER, hexadecimal: names the CSR without repeating it.
    """

    request: x509.CertificateSigningRequest
    subject: x509.Name
    key: CertificatePublicKeyTypes
    extensions: x509.Extensions
    digest: str


def parse_csr(text: str) -> ParsedCsr:
    """Read exactly one PEM block and prove the CSR's signature.

    Raises:
        CsrMalformed: It is not one block, not one CSR, or its signature is wrong.
        CsrRejected: Its key is of a kind or size that is not even worth a signature check.
    """
    der = _decode(text)
    try:
        request = x509.load_der_x509_csr(der)
        _refuse_second_extension_request(request)
        # All of it is read here: the library parses late, and later nobody expects a parser's error.
        subject, extensions = request.subject, request.extensions
        key = _affordable_key(request)
        proven = _proves_possession(request, key)
    except UNPARSABLE as error:
        raise CsrMalformed(f"the CSR cannot be parsed: {_short(error)}") from None
    if not proven:
        raise CsrMalformed("the CSR's signature does not match its key")
    return ParsedCsr(request, subject, key, extensions, sha256(der).hexdigest())


def _proves_possession(request: x509.CertificateSigningRequest, key: CertificatePublicKeyTypes) -> bool:
    """Check the CSR's own signature. With the key at hand, which spares the library a second parse of it."""
    method = request.signature_algorithm_parameters
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(method, ec.ECDSA):
        return request.is_signature_valid
    try:
        key.verify(request.signature, request.tbs_certrequest_bytes, method)
    except InvalidSignature:
        return False
    return True


def _decode(text: str) -> bytes:
    if len(text) > MAX_CSR_BYTES:
        raise CsrMalformed(f"the CSR is {len(text)} bytes long; {MAX_CSR_BYTES} are allowed")
    block = _BLOCK.fullmatch(text)
    if block is None:
        raise CsrMalformed("the CSR is not exactly one PEM block of type CERTIFICATE REQUEST")
    try:
        return base64.b64decode(block[2].replace("\r", "").replace("\n", ""), validate=True)
    except binascii.Error:
        raise CsrMalformed("the CSR's PEM block is not base64") from None


def _short(error: Exception) -> str:
    """Cut a parser's message: it may quote what the stranger sent."""
    return f"{type(error).__name__}: {str(error)[:120]!a}"


def _refuse_second_extension_request(request: x509.CertificateSigningRequest) -> None:
    """A parser that reads the other one of two would see names that no rule has judged."""
    asked = [a for a in request.attributes if a.oid in (_EXTENSION_REQUEST, _MS_EXTENSION_REQUEST)]
    if len(asked) > 1:
        raise CsrMalformed("the CSR has more than one extension request")


def _affordable_key(request: x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    key = request.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size > keys.MAX_RSA_BITS:
        raise CsrRejected(f"key: {keys.weakness(key)}")
    return key
