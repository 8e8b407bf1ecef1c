"""Names and texts that both kinds of request share: pure."""

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from signer.core.types import SigningRequest


def derived_name(*parts: str) -> str:
    """An object's name that follows from what is asked, so that the same question finds the same object."""
    return f"istio-signer-{sha256(chr(0).join(parts).encode()).hexdigest()[:40]}"


def encoded_csr(csr: x509.CertificateSigningRequest) -> str:
    """A CSR as both APIs want it: base64 of its PEM text."""
    return b64encode(csr.public_bytes(Encoding.PEM)).decode("ascii")


def leaf_usages(request: SigningRequest) -> list[str]:
    """The usages of a proxy's certificate, in the words of both APIs; an RSA key also deciphers keys."""
    rsa_key = isinstance(request.csr.parsed.key, rsa.RSAPublicKey)
    return ["digital signature", *(["key encipherment"] if rsa_key else []), "server auth", "client auth"]


def decoded(text: object) -> str:
    """A certificate in an object's status: base64 of PEM; empty where it is neither."""
    if not isinstance(text, str):
        return ""
    try:
        return b64decode(text, validate=True).decode("ascii")
    except (BadBase64, ValueError):
        return ""
