"""CSRs that real clients send, or may send, and that must pass."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.corpus.build import (
    EMPTY_ORGANIZATION,
    URI,
    csr_der,
    extended_usage,
    good_csr,
    pem,
    wants,
)
from tests.corpus.case import Corpus
from tests.support import der
from tests.support.pki import SHA256, key, san, usage

CORPUS: Corpus[str] = Corpus()


@CORPUS.good
def agent() -> str:
    """RSA-2048, O="" (the RDN is there), SAN critical. The Istio agent's default (generate_csr.go)."""
    return pem(csr_der(wants(URI, critical=True), by="rsa2048", subject=EMPTY_ORGANIZATION))


@CORPUS.good
def agent_by_a_library() -> str:
    """The same made by an independent encoder, lest the hand-made one is wrong in the same way as the parser."""
    empty = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "", _validate=False)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([empty]))
    request = builder.add_extension(san(URI), critical=True).sign(key("rsa2048"), SHA256)
    return request.public_bytes(Encoding.PEM).decode()


@CORPUS.good
def ztunnel() -> str:
    """P-256, empty RDNSequence, SAN not critical (ztunnel: csr.rs)."""
    return good_csr()


@CORPUS.good
def p384() -> str:
    """P-384: the agent with ECC_CURVE=P384."""
    return good_csr("p384")


@CORPUS.good
def rsa_4096() -> str:
    """RSA-4096: the agent with WORKLOAD_RSA_KEY_SIZE=4096."""
    return good_csr("rsa4096")


@CORPUS.good
def label_new() -> str:
    """NEW CERTIFICATE REQUEST: the label of old OpenSSL and of Microsoft's tools."""
    return pem(csr_der(wants(URI)), label="NEW CERTIFICATE REQUEST")


@CORPUS.good
def crlf() -> str:
    """Lines end in CR LF: the CSR went through a Windows machine."""
    return pem(csr_der(wants(URI)), newline="\r\n")


@CORPUS.good
def blank_around() -> str:
    """White space around the one block: a shell's here-document."""
    return f"\n  {good_csr()}\n\n"


@CORPUS.good
def no_newline_at_the_end() -> str:
    """The last newline is missing: ``$(cat csr.pem)``."""
    return good_csr().rstrip("\n")


@CORPUS.good
def not_a_ca() -> str:
    """basicConstraints CA:FALSE: says what is true anyway."""
    return pem(csr_der(wants(URI), der.extension(x509.BasicConstraints(False, None), critical=True)))


@CORPUS.good
def digital_signature() -> str:
    """keyUsage digitalSignature, keyEncipherment: istio-csr's clients ask for it."""
    return pem(csr_der(wants(URI), der.extension(usage("digital_signature", "key_encipherment"), critical=True)))


@CORPUS.good
def both_roles() -> str:
    """extendedKeyUsage serverAuth, clientAuth: what the leaf gets anyway."""
    both = extended_usage(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    return pem(csr_der(wants(URI), both))


@CORPUS.good
def other_attribute() -> str:
    """An unstructuredName attribute beside the extensionRequest: it is no extension, and nothing is made of it."""
    unstructured = der.sequence(der.oid("1.2.840.113549.1.9.2"), der.set_of(der.tlv(0x0C, b"x")))
    request = der.sequence(der.oid("1.2.840.113549.1.9.14"), der.set_of(der.sequence(wants(URI))))
    return pem(csr_der(attributes=unstructured + request))
