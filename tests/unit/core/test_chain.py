"""Trust bundles and the layout of answers: the same bytes on every replica."""

import itertools
import random
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from signer.core.chain import (
    TrustBundle,
    VerifiedChain,
    fingerprint,
    is_ca,
    is_self_issued,
    layout,
    pem,
    window,
)
from tests.corpus.answers import intermediate, leaf, root
from tests.support import der
from tests.support.clock import DAY, NOW
from tests.support.pki import CA_EXTENSIONS, make_ca

A, B, C = (make_ca(f"root {letter}").certificate for letter in "abc")


def test_pem_is_canonical() -> None:
    """64 columns, LF, no text around it, a newline at the end."""
    first, *middle, last = pem(A).removesuffix("\n").split("\n")
    assert (first, last) == ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    assert {len(line) for line in middle[:-1]} == {64}
    assert "\r" not in pem(A)
    assert pem(A).endswith("-----\n")


def test_order_is_stable() -> None:
    """However the roots come in, the bytes are the same."""
    bundles = {TrustBundle.of(order).pem for order in itertools.permutations((A, B, C))}
    assert len(bundles) == 1
    roots = TrustBundle.of((A, B, C)).roots
    assert [fingerprint(root) for root in roots] == sorted(map(fingerprint, (A, B, C)))


def test_duplicates_collapse() -> None:
    """A root given twice, even as another object, is one root."""
    again = x509.load_pem_x509_certificate(pem(A).encode())
    shuffled = [A, again, B, A]
    random.Random(1).shuffle(shuffled)
    assert TrustBundle.of(shuffled) == TrustBundle.of((A, B))


def test_digest() -> None:
    """Equal digests mean equal bundles."""
    bundle = TrustBundle.of((A, B))
    assert bundle.digest == sha256(bundle.pem.encode()).hexdigest()
    assert bundle.digest != TrustBundle.of((A,)).digest
    assert TrustBundle.of(()).pem == ""


def test_algebra() -> None:
    """Union, difference, inclusion."""
    a, ab, bc = TrustBundle.of((A,)), TrustBundle.of((A, B)), TrustBundle.of((B, C))
    assert ab.union(bc) == TrustBundle.of((A, B, C))
    assert ab.minus(bc) == a
    assert ab.covers(a)
    assert not a.covers(ab)
    assert not ab.covers(bc)


def test_layout() -> None:
    """Leaf, each intermediate, all roots together: every element ends in a newline."""
    bundle = TrustBundle.of((root().certificate, A))
    issuer = intermediate().certificate
    elements = layout(VerifiedChain(leaf(), (issuer,), (pem(issuer),), bundle), bundle)
    assert elements == (pem(leaf_of(elements)), pem(issuer), bundle.pem)
    assert [element.count("BEGIN CERTIFICATE") for element in elements] == [1, 1, 2]


def leaf_of(elements: tuple[str, ...]) -> x509.Certificate:
    """The first element, as a proxy reads it."""
    return x509.load_pem_x509_certificate(elements[0].encode())


def test_window() -> None:
    """The span in which all are valid."""
    young = make_ca("young", window=(NOW - DAY, NOW + 900 * DAY)).certificate
    assert window([A, young]) == (NOW - DAY, A.not_valid_after_utc)


def test_window_of_nothing() -> None:
    """There is none."""
    with pytest.raises(ValueError, match="no certificates"):
        window([])


def test_looks() -> None:
    """Self-issued and CA are told by the fields."""
    assert is_self_issued(A)
    assert not is_self_issued(intermediate().certificate)
    assert is_ca(A)
    assert not is_ca(leaf())
    assert not is_ca(make_ca("bare", extensions=()).certificate)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param((*CA_EXTENSIONS, CA_EXTENSIONS[0]), id="twice"),
        pytest.param(((x509.UnrecognizedExtension(ExtensionOID.BASIC_CONSTRAINTS, b"\xff"), True),), id="garbage"),
        pytest.param(
            (
                *CA_EXTENSIONS,
                (
                    x509.UnrecognizedExtension(
                        ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der.sequence(der.context(3, der.sequence()))
                    ),
                    False,
                ),
            ),
            id="unsupported-name",
        ),
    ],
)
def test_unreadable_extensions_make_no_ca(odd: tuple[tuple[x509.ExtensionType, bool], ...]) -> None:
    """What cannot be read may not issue."""
    assert not is_ca(make_ca("odd", extensions=odd).certificate)
