"""Extensions that a workload has no business asking for."""

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from signer.core.errors import CsrRejected
from tests.corpus.build import URI, csr_der, extended_usage, pem, wants
from tests.corpus.case import Corpus
from tests.support import der
from tests.support.pki import name, usage

CORPUS: Corpus[str] = Corpus()
_NOT_ALLOWED = "extensions: extensions that are not allowed: "


def _asks(extension: bytes) -> str:
    return pem(csr_der(wants(URI), extension))


@CORPUS.bad(CsrRejected, "ca: it asks for a CA certificate")
def ca_true() -> str:
    """basicConstraints CA:TRUE: whoever gets that is the mesh."""
    return _asks(der.extension(x509.BasicConstraints(True, None), critical=True))


@CORPUS.bad(CsrRejected, "ca: it asks for a CA certificate")
def ca_true_not_critical() -> str:
    """The same, not marked critical and with a path length."""
    return _asks(der.extension(x509.BasicConstraints(True, 0)))


@CORPUS.bad(CsrRejected, "key-usage: it asks for the key usage of a CA")
def key_cert_sign() -> str:
    """keyUsage digitalSignature, keyCertSign."""
    return _asks(der.extension(usage("digital_signature", "key_cert_sign")))


@CORPUS.bad(CsrRejected, "key-usage: it asks for the key usage of a CA")
def crl_sign() -> str:
    """keyUsage cRLSign: may tell the mesh that others are revoked."""
    return _asks(der.extension(usage("crl_sign")))


@CORPUS.bad(CsrRejected, "extended-key-usage: extended key usages that are not allowed: 1.3.6.1.5.5.7.3.3")
def code_signing() -> str:
    """extendedKeyUsage codeSigning."""
    return _asks(extended_usage(ExtendedKeyUsageOID.CODE_SIGNING))


@CORPUS.bad(CsrRejected, "extended-key-usage: extended key usages that are not allowed: 2.5.29.37.0")
def any_usage() -> str:
    """extendedKeyUsage clientAuth, anyExtendedKeyUsage: the second one opens all doors."""
    return _asks(extended_usage(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))


@CORPUS.bad(CsrRejected, f"{_NOT_ALLOWED}1.3.6.1.4.1.55555.2")
def unknown() -> str:
    """An extension that nobody knows."""
    return _asks(der.raw_extension("1.3.6.1.4.1.55555.2", b"\x05\x00"))


@CORPUS.bad(CsrRejected, f"{_NOT_ALLOWED}1.3.6.1.4.1.55555.2")
def unknown_critical() -> str:
    """The same, critical: copied into a leaf it would break every peer."""
    return _asks(der.raw_extension("1.3.6.1.4.1.55555.2", b"\x05\x00", critical=True))


@CORPUS.bad(CsrRejected, f"{_NOT_ALLOWED}2.5.29.30")
def name_constraints() -> str:
    """nameConstraints: belongs in a CA."""
    return _asks(der.extension(x509.NameConstraints([x509.DNSName("a.example")], None)))


@CORPUS.bad(CsrRejected, f"{_NOT_ALLOWED}2.5.29.18")
def issuer_alternative_name() -> str:
    """issuerAltName: the twin of subjectAltName, which a sloppy reader takes for it."""
    return _asks(der.extension(x509.IssuerAlternativeName([x509.UniformResourceIdentifier(URI)])))


@CORPUS.bad(CsrRejected, f"{_NOT_ALLOWED}2.5.29.9")
def subject_directory_attributes() -> str:
    """subjectDirectoryAttributes with a directory name in it."""
    return _asks(der.raw_extension("2.5.29.9", der.sequence(name("x").public_bytes())))
