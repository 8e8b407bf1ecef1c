"""Which certificates may be anchors: every rule by a certificate that breaks it, and files as people leave them."""

import re
import time
from collections.abc import Callable

import pytest
from cryptography import x509

from signer.core.anchors import MAX_ANCHORS, RULES, Dropped, anchor_fault, read_anchors, screen
from signer.core.chain import TrustBundle, fingerprint
from tests.support import anchors
from tests.support.anchors import pem_of, pems
from tests.support.clock import DAY, NOW, SECOND
from tests.support.pki import key, key_pem, make_ca, without_a_version

A, B = make_ca("root a"), make_ca("root b")
BOTH = TrustBundle.of((A.certificate, B.certificate))

_SERIAL, _CA, _ISSUER, _KEY, _SIGNATURE = RULES
BREAKS: dict[str, tuple[Callable[[], x509.Certificate], str]] = {
    "negative serial": (anchors.negative_serial, _SERIAL),
    "not a CA": (anchors.not_a_ca, _CA),
    "nothing said of CA": (anchors.says_nothing_of_ca, _CA),
    "leaf": (anchors.leaf, _CA),
    "constraints that nobody can read": (anchors.garbage_for_constraints, _CA),
    "intermediate": (anchors.not_self_issued, _ISSUER),
    "P-521": (lambda: anchors.of_kind("p521"), _KEY),
    "secp256k1": (lambda: anchors.of_kind("secp256k1"), _KEY),
    "Ed25519": (lambda: anchors.of_kind("ed25519"), _KEY),
    "Ed448": (lambda: anchors.of_kind("ed448"), _KEY),
    "RSA-1024": (lambda: anchors.of_kind("rsa1024"), _KEY),
    "key that cannot be loaded": (anchors.of_a_foreign_key, _KEY),
    "signed by another key": (anchors.signed_by_another, _SIGNATURE),
}
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


def test_every_rule_has_a_case() -> None:
    """A new rule needs a certificate that breaks it."""
    assert {rule for _, rule in BREAKS.values()} == set(RULES)


@pytest.mark.parametrize("case", BREAKS)
def test_rules(case: str) -> None:
    """The fault is the rule's own text, and the certificate is dropped under its fingerprint."""
    make, rule = BREAKS[case]
    certificate = make()
    assert anchor_fault(certificate, NOW) == rule
    screened = screen([A.certificate, certificate, B.certificate], NOW)
    assert screened.bundle == BOTH
    assert screened.dropped == (Dropped(fingerprint(certificate)[:16], rule),)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048", "rsa3072"])
def test_good_roots(kind: str) -> None:
    """Of every key that proxies verify with."""
    assert anchor_fault(make_ca("good", kind=kind).certificate, NOW) is None


@pytest.mark.parametrize("serial", [0, 1, 2**159 - 1, 2**200])
def test_serials_that_proxies_take(serial: int) -> None:
    """Only the sign breaks parsers."""
    assert anchor_fault(anchors.bent(serial=serial), NOW) is None


def test_time() -> None:
    """What has ended is out, and it is said when; what is to come is in, for it is to be trusted beforehand."""
    root = A.certificate
    end = root.not_valid_after_utc
    assert anchor_fault(root, end - SECOND) is None
    assert anchor_fault(root, end + SECOND) == f"it ended at {end.isoformat()}"
    assert anchor_fault(anchors.ended(), NOW) == f"it ended at {(NOW - SECOND).isoformat()}"
    assert anchor_fault(make_ca("of tomorrow", window=(NOW + DAY, NOW + 9 * DAY)).certificate, NOW) is None


def test_screen_collapses_duplicates() -> None:
    """Good and bad ones: each is kept or told once."""
    bad = anchors.not_a_ca()
    screened = screen([B.certificate, bad, A.certificate, B.certificate, bad], NOW)
    assert screened.bundle == BOTH
    assert len(screened.dropped) == 1


TIDY = A.pem + B.pem
TEXTS: dict[str, bytes] = {
    "tidy": TIDY,
    "the other way round": B.pem + A.pem,
    "CRLF": TIDY.replace(b"\n", b"\r\n"),
    "CR": TIDY.replace(b"\n", b"\r"),
    "no newline at the end": TIDY.rstrip(b"\n"),
    "texts between": b"Bag Attributes\n  friendlyName: \xc3\xa4\n"
    + A.pem
    + b"\n\n# the other\xff\n"
    + B.pem
    + b"end\n",
    "indented": TIDY.replace(b"\n", b"\n    "),
    "byte order mark": b"\xef\xbb\xbf" + TIDY,
    "five dashes in a text": b"-----\n" + A.pem + b"----- END -----\n" + B.pem,
}


@pytest.mark.parametrize("text", TEXTS)
def test_form_does_not_matter(text: str) -> None:
    """The bytes that come out are the same, and nothing is complained of."""
    screened = read_anchors(TEXTS[text], NOW)
    assert (screened.bundle.pem, screened.dropped) == (BOTH.pem, ())


_CUT = A.pem[: len(A.pem) // 2]
_NO_END = ("the text", "a block has no end, or another one than its beginning")
_UNPARSABLE = ("block 2", "it cannot be parsed (ValueError)")
DIRTY: dict[str, tuple[bytes, tuple[str, str]]] = {
    "unparsable": (A.pem + pem_of(b"rubbish") + B.pem, _UNPARSABLE),
    "no base64": (A.pem + b"-----BEGIN CERTIFICATE-----\n!\xff\n-----END CERTIFICATE-----\n" + B.pem, _UNPARSABLE),
    "empty": (A.pem + pem_of(b"") + B.pem, _UNPARSABLE),
    "no such version": (A.pem + without_a_version(make_ca("v9")) + B.pem, ("block 2", "it cannot be parsed")),
    "duplicate": (A.pem + A.pem.replace(b"\n", b"\r\n") + B.pem, ("block 2", "a duplicate")),
    "CRL": (A.pem + pem_of(b"x", "X509 CRL") + B.pem, ("block 2", "it is no certificate but 'X509 CRL'")),
    "cut off at the end": (A.pem + B.pem + _CUT, _NO_END),
    "cut off at the beginning": (_CUT + b"\n" + A.pem + B.pem, _NO_END),
    "cut off in the middle": (A.pem + _CUT + B.pem, _NO_END),
    "another end": (A.pem + _CUT + b"\n-----END CERTIFICATE REQUEST-----\n" + B.pem, _NO_END),
}


@pytest.mark.parametrize("text", DIRTY)
def test_one_bad_block(text: str) -> None:
    """The good ones stay, wherever it is."""
    data, (what, why) = DIRTY[text]
    screened = read_anchors(data, NOW)
    assert screened.bundle == BOTH
    (dropped,) = screened.dropped
    assert dropped.what == what
    assert dropped.why.startswith(why)
    assert str(dropped) == f"{what}: {dropped.why}"


@pytest.mark.parametrize("case", BREAKS)
def test_one_that_may_be_no_anchor(case: str) -> None:
    """Of those that can be parsed, the fingerprint tells which it is."""
    make, rule = BREAKS[case]
    bad = make()
    screened = read_anchors(A.pem + pems([bad]) + B.pem, NOW)
    assert screened.bundle == BOTH
    assert screened.dropped == (Dropped(fingerprint(bad)[:16], rule),)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_private_key_is_left_out_and_never_quoted(ending: bytes) -> None:
    """Whole or cut off: neither the bundle nor what is told of it holds a line of it."""
    secret = key_pem(key("p256/secret")).replace(b"\n", ending)
    lines = secret.splitlines()[1:-1]
    for data in (secret + TIDY, A.pem + secret + B.pem, TIDY + secret[:-30], secret[:-30] + ending + TIDY):
        screened = read_anchors(data, NOW)
        assert screened.bundle == BOTH
        assert len(screened.dropped) == 1
        told = screened.bundle.pem + "".join(map(str, screened.dropped))
        assert not [line for line in lines if line.decode() in told]
    assert str(read_anchors(A.pem + secret, NOW).dropped[0]) == "block 2: it is no certificate but 'PRIVATE KEY'"


def test_a_label_is_no_place_for_a_novel() -> None:
    """What is told stays short."""
    (dropped,) = read_anchors(A.pem + pem_of(b"x", "A" * 100_000), NOW).dropped
    assert len(str(dropped)) < 200


@pytest.mark.parametrize("data", [b"", b"\n", b"rubbish", b"\x00\xff" * 50, TIDY.decode().encode("utf-16")])
def test_nothing_in_it(data: bytes) -> None:
    """No root, no complaint: whoever reads it says what that means."""
    screened = read_anchors(data, NOW)
    assert (screened.bundle.roots, screened.dropped) == ((), ())


def test_a_bound_on_anchors() -> None:
    """A file of the web's roots is no mesh's bundle."""
    roots = anchors.many(MAX_ANCHORS + 1)
    full = read_anchors(pems(roots[:-1]), NOW)
    assert (len(full.bundle.roots), full.dropped) == (MAX_ANCHORS, ())
    over = read_anchors(pems(roots), NOW)
    assert over.bundle == full.bundle
    assert [str(dropped) for dropped in over.dropped] == ["the text: only the first 256 certificates are taken"]
    assert read_anchors(pems([*roots[:-1], roots[0]]), NOW).bundle == full.bundle, "a duplicate takes no place"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"-----BEGIN CERTIFICATE-----\n" * 30_000, id="beginnings"),
        pytest.param(b"-----BEGIN " + b"A" * 1_000_000, id="label"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n" + b"-----END " * 100_000, id="ends"),
        pytest.param(A.pem * 2000, id="duplicates"),
    ],
)
def test_a_hostile_text_takes_no_time(text: bytes) -> None:
    """It is read on the event loop."""
    start = time.process_time()
    read_anchors(text, NOW)
    assert time.process_time() - start < 5.0


def test_messages_are_whole() -> None:
    """Each rule's text goes on where a certificate has been named."""
    assert all(re.match(r"(it|its) ", rule) for rule in RULES)
