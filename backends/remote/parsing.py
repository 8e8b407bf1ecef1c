"""Certificates that a far side gave: parsed, or its answer is a refusal."""

from cryptography import x509

from signer.core.errors import BackendRefused
from signer.core.parsing import UNPARSABLE, parse_certificates


def certificates(text: str, what: str) -> list[x509.Certificate]:
    """Parse a PEM text.

    Raises:
        BackendRefused: It holds no certificate, or a broken one.
    """
    try:
        return parse_certificates(text.encode())
    except UNPARSABLE as error:
        raise BackendRefused(f"{what} cannot be parsed ({type(error).__name__})") from None
