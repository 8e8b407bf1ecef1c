"""Texts that are not one well-formed CSR whose signature proves its key."""

import base64

from signer.core.csr import MAX_CSR_BYTES
from signer.core.errors import CsrMalformed
from tests.corpus.build import (
    MS_EXTENSION_REQUEST,
    URI,
    csr_der,
    good_csr,
    pem,
    request_of,
    wants,
)
from tests.corpus.case import Corpus
from tests.support import der
from tests.support.pki import key, spki

CORPUS: Corpus[str] = Corpus()
_NOT_ONE_BLOCK = "not exactly one PEM block"
_UNREADABLE = "cannot be parsed"


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def empty() -> str:
    """Nothing at all."""
    return ""


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def not_pem() -> str:
    """Base64 of a CSR without its frame."""
    return base64.b64encode(csr_der(wants(URI))).decode()


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def two_blocks() -> str:
    """Good CSR, then another good CSR: which one is signed must not depend on the parser."""
    return good_csr() * 2


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def trailing_garbage() -> str:
    """Good CSR, then text."""
    return good_csr() + "x"


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def leading_garbage() -> str:
    """Text, then a good CSR: OpenSSL's tools print such a thing, no proxy does."""
    return "Certificate Request:\n" + good_csr()


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def a_certificates_label() -> str:
    """BEGIN CERTIFICATE around a CSR."""
    return pem(csr_der(wants(URI)), label="CERTIFICATE")


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def labels_differ() -> str:
    """BEGIN CERTIFICATE REQUEST ... END NEW CERTIFICATE REQUEST."""
    return good_csr().replace("END ", "END NEW ")


@CORPUS.bad(CsrMalformed, _NOT_ONE_BLOCK)
def pem_headers() -> str:
    """Proc-Type and DEK-Info inside the block (RFC 1421)."""
    return good_csr().replace("REQUEST-----\n", "REQUEST-----\nProc-Type: 4,ENCRYPTED\n\n", 1)


@CORPUS.bad(CsrMalformed, "not base64")
def bad_padding() -> str:
    """Base64 that stops in the middle of a group."""
    return pem(b"abcd").replace("==", "=")


@CORPUS.bad(CsrMalformed, _UNREADABLE)
def garbage_inside() -> str:
    """A good frame around bytes that are no DER."""
    return pem(b"\xde\xad\xbe\xef" * 40)


@CORPUS.bad(CsrMalformed, _UNREADABLE)
def der_trailing_bytes() -> str:
    """A good CSR's DER with one byte more."""
    return pem(csr_der(wants(URI)) + b"\x00")


@CORPUS.bad(CsrMalformed, _UNREADABLE)
def der_cut_off() -> str:
    """A good CSR's DER without its last byte."""
    return pem(csr_der(wants(URI))[:-1])


@CORPUS.bad(CsrMalformed, "signature does not match")
def broken_signature() -> str:
    """The last bit of the signature is flipped."""
    data = csr_der(wants(URI), by="rsa2048")
    return pem(data[:-1] + bytes([data[-1] ^ 1]))


@CORPUS.bad(CsrMalformed, "signature does not match")
def signed_by_another_key() -> str:
    """Somebody else's public key, signed by one's own: no proof that its sender holds the key."""
    return pem(csr_der(wants(URI), by="p256/victim", signer="p256/thief"))


@CORPUS.bad(CsrMalformed, "signature does not match")
def names_changed_after_signing() -> str:
    """One letter of the SAN is another one than was signed."""
    return pem(csr_der(wants(URI)).replace(b"/sa/api", b"/sa/apl"))


@CORPUS.bad(CsrMalformed, "more than one extension request")
def two_extension_requests() -> str:
    """extensionRequest{good SAN}, extensionRequest{SAN of admin}: parsers differ in which one they read."""
    admin = wants(URI.replace("api", "admin"))
    return pem(csr_der(attributes=request_of(wants(URI)) + request_of(admin)))


@CORPUS.bad(CsrMalformed, "more than one extension request")
def microsofts_twin() -> str:
    """extensionRequest{good SAN}, Microsoft's twin of it {SAN of admin}."""
    admin = request_of(wants(URI.replace("api", "admin")), kind=MS_EXTENSION_REQUEST)
    return pem(csr_der(attributes=request_of(wants(URI)) + admin))


@CORPUS.bad(CsrMalformed, _UNREADABLE)
def san_twice() -> str:
    """One extensionRequest{good SAN, SAN of admin}: two extensions of one type (RFC 5280 section 4.2)."""
    return pem(csr_der(wants(URI), wants(URI.replace("api", "admin"))))


@CORPUS.bad(CsrMalformed, _UNREADABLE)
def unknown_version() -> str:
    """Version 1 of PKCS#10; only 0 exists (RFC 2986 section 4.1)."""
    return pem(csr_der(wants(URI), version=1))


@CORPUS.bad(CsrMalformed, _UNREADABLE)
def x400_name() -> str:
    """SAN: x400Address, a kind of name that the library knows but does not support."""
    address = der.raw_extension("2.5.29.17", der.sequence(der.context(3, der.sequence())))
    return pem(csr_der(address))


@CORPUS.bad(CsrMalformed, "")
def subject_not_utf8() -> str:
    """O = UTF8String of bytes that are no UTF-8: the name can be carried but not read."""
    return pem(csr_der(wants(URI), subject=der.attribute("2.5.4.10", der.tlv(0x0C, b"\xff\xfe"))))


@CORPUS.bad(CsrMalformed, _UNREADABLE)
def unknown_key_algorithm() -> str:
    """A SubjectPublicKeyInfo of an algorithm that nobody knows."""
    public = der.sequence(der.sequence(der.oid("1.3.6.1.4.1.55555.1")), der.bits(b"\x01" * 32))
    return pem(csr_der(wants(URI), public=public))


@CORPUS.bad(CsrMalformed, "")
def point_not_on_the_curve() -> str:
    """P-256 with the last byte of the point changed."""
    public = spki(key("p256/csr"))
    return pem(csr_der(wants(URI), public=public[:-1] + bytes([public[-1] ^ 1])))


@CORPUS.bad(CsrMalformed, "65536 are allowed")
def over_64_kib() -> str:
    """A good CSR, then white space up to one byte over the limit."""
    return good_csr().ljust(MAX_CSR_BYTES + 1)
