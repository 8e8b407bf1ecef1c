"""Reading certificates that others made: every way in which the library says that it cannot."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

# The library parses late, and these are not one family. Whoever touches a foreign certificate or CSR catches them all.
UNPARSABLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_BEGIN = b"-----BEGIN "


def parse_certificates(data: bytes) -> list[x509.Certificate]:
    """Read one or more PEM certificates, and nothing else but text between them.

    The library skips a last block that is cut off and blocks of other kinds; a file that was half written, or holds a
    key by mistake, must not pass for a good one.

    Raises:
        ValueError: There is none, one cannot be parsed, or a block is something else.
    """
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except UNPARSABLE as error:
        raise ValueError(f"a certificate cannot be parsed ({type(error).__name__})") from None
    if len(certificates) != data.count(_BEGIN):
        raise ValueError("not every PEM block is a whole certificate")
    return certificates
