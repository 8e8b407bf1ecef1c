"""Certificates that a far side gave: parsed, or its answer is none.

Never a refusal: nobody has decided against the request, and a retry or another backend may have better luck.
"""

from cryptography import x509

from signer.core.errors import BackendUnavailable
from signer.core.parsing import UNPARSABLE, parse_certificates


class BrokenAnswer(BackendUnavailable):
    """What came is no certificate; whoever asks the same again may find the same."""


def certificates(text: str, what: str) -> list[x509.Certificate]:
    """Parse a PEM text.

    Raises:
        BrokenAnswer: It holds no certificate, or a broken one.
    """
    try:
        return parse_certificates(text.encode())
    except UNPARSABLE as error:
        raise BrokenAnswer(f"{what} cannot be parsed ({type(error).__name__})") from None
