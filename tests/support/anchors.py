"""Certificates that may be no anchors: one way to bend them for each rule, and more."""

import base64
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from tests.support import der
from tests.support.clock import NOW, SECOND
from tests.support.pki import (
    CA_EXTENSIONS,
    CA_WINDOW,
    Extension,
    Key,
    Quirk,
    certificate,
    changed,
    key,
    leaf_extensions,
    make_ca,
    name,
    spki,
)

FOREIGN_KEY = der.sequence(der.sequence(der.oid("1.2.3.4.5")), der.bits(b"whatever"))


def bent(
    *,
    own: Key | None = None,
    issuer: str = "bent",
    extensions: Sequence[Extension] = CA_EXTENSIONS,
    signer: Key | None = None,
    public: bytes = b"",
    serial: int | None = None,
) -> x509.Certificate:
    """A root with something odd about it."""
    own = own or key("p256/bent")
    quirk, subject = Quirk(serial=serial), name("bent")
    return certificate(
        subject,
        public or spki(own),
        name(issuer),
        signer or own,
        window=CA_WINDOW,
        extensions=extensions,
        quirk=quirk,
    )


def negative_serial() -> x509.Certificate:
    """The library makes none, but reads it."""
    return bent(serial=-31768)


def not_a_ca() -> x509.Certificate:
    """basicConstraints say no."""
    return bent(extensions=changed(CA_EXTENSIONS, (x509.BasicConstraints(ca=False, path_length=None), True)))


def says_nothing_of_ca() -> x509.Certificate:
    """No basicConstraints, as X.509v1 roots have none."""
    return bent(extensions=())


def leaf() -> x509.Certificate:
    """Somebody took the wrong file."""
    return bent(extensions=leaf_extensions("spiffe://cluster.local/ns/a/sa/b"))


def garbage_for_constraints() -> x509.Certificate:
    """Its extensions cannot be parsed."""
    return bent(
        extensions=((x509.UnrecognizedExtension(ExtensionOID.BASIC_CONSTRAINTS, b"\xff"), True),),
    )


def not_self_issued() -> x509.Certificate:
    """An intermediate."""
    return bent(issuer="somebody else", signer=key("p256/somebody else"))


def signed_by_another() -> x509.Certificate:
    """Names itself as its issuer, and lies."""
    return bent(signer=key("p256/somebody else"))


def of_kind(kind: str) -> x509.Certificate:
    """A good root but for its key."""
    return make_ca("odd key", kind=kind).certificate


def of_a_foreign_key() -> x509.Certificate:
    """A key that the library cannot even load."""
    return bent(public=FOREIGN_KEY)


def ended() -> x509.Certificate:
    """A second ago."""
    return make_ca("ended", window=(CA_WINDOW[0], NOW - SECOND)).certificate


def pem_of(data: bytes, label: str = "CERTIFICATE") -> bytes:
    """Any bytes as a PEM block."""
    text = base64.encodebytes(data).decode("ascii")
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


def many(count: int) -> list[x509.Certificate]:
    """Good roots of one key, made quickly."""
    own = key("p256/many")
    public = spki(own)
    names = (name(f"root {number}") for number in range(count))
    return [certificate(n, public, n, own, window=CA_WINDOW, extensions=CA_EXTENSIONS) for n in names]


def pems(certificates: Sequence[x509.Certificate]) -> bytes:
    """A file of them."""
    return b"".join(c.public_bytes(Encoding.PEM) for c in certificates)
