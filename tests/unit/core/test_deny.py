"""The deny list: what its entries may look like, and whom they match."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.core.csr import parse_csr
from signer.core.deny import MAX_ENTRIES, MAX_FAULTS, BadDenyList, DenyList, key_digest
from signer.core.identity import SpiffeId
from tests.corpus.build import csr_der, parsed_csr, pem, wants
from tests.support import der
from tests.support.clock import HOUR, NOW, SECOND

URI = "spiffe://cluster.local/ns/shop/sa/cart"
IDENTITY = SpiffeId.parse(URI)
DIGEST = "0123456789abcdef" * 4
COLONS = ":".join(DIGEST[i : i + 2] for i in range(0, 64, 2))
UID = "0a1bc2d3-0000-4000-8000-000000000001"

# Entry -> what it denies, as keywords of `fault`, and how the reason spells it.
GOOD: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "identity": ({"identity": URI}, {"identities": [IDENTITY]}, f"identity {URI}"),
    "pod": ({"pod_uid": UID}, {"pod_uid": UID}, f"pod_uid {UID}"),
    "key": ({"key": f"sha256:{DIGEST}"}, {"key": DIGEST}, f"key sha256:{DIGEST}"),
    "key, upper case": ({"key": f"SHA256:{DIGEST.upper()}"}, {"key": DIGEST}, f"key sha256:{DIGEST}"),
    "key, colons": ({"key": f"sha256:{COLONS}"}, {"key": DIGEST}, f"key sha256:{DIGEST}"),
    "serial": ({"serial": "a1b2"}, {"serial": 0xA1B2}, "serial a1b2"),
    "serial, openssl": ({"serial": "0A1B"}, {"serial": 0xA1B}, "serial a1b"),
    "serial, colons": ({"serial": "00:0a:1b"}, {"serial": 0xA1B}, "serial a1b"),
    "serial, longest": ({"serial": "00" + "ff" * 20}, {"serial": (1 << 160) - 1}, f"serial {'f' * 40}"),
}


@pytest.mark.parametrize(("entry", "asked", "shown"), GOOD.values(), ids=GOOD)
def test_good_entries(entry: dict[str, object], asked: dict[str, object], shown: str) -> None:
    """Each denies its own, with and without a reason, and nobody where nothing is asked."""
    assert DenyList.parse([entry]).fault(NOW, **asked) == f"denied: {shown}"  # type: ignore[arg-type]
    denied = DenyList.parse([{**entry, "reason": "stolen node", "until": None}])
    assert denied.fault(NOW, **asked) == f"denied: {shown} (stolen node)"  # type: ignore[arg-type]
    assert denied.fault(NOW) is None
    assert len(denied) == 1


_WRITE_TEXT = "write a text; in quotes, where it looks like a number"
_ONE = "give exactly one of identity, pod_uid, key, serial; given are "
BAD: dict[str, tuple[object, str]] = {
    "no mapping": (URI, "write keys with values"),
    "a list": ([URI], "write keys with values"),
    "nothing": (None, "write keys with values"),
    "empty": ({}, _ONE + "none"),
    "reason alone": ({"reason": "x"}, _ONE + "none"),
    "two": ({"identity": URI, "serial": "1"}, _ONE + "identity, serial"),
    "two, one empty": ({"identity": URI, "key": None}, _ONE + "identity, key"),
    "unknown key": ({"identity": URI, "untill": "x"}, "there is no key 'untill'; there are identity, "),
    "key that is no text": ({"identity": URI, 7: "x"}, "there is no key '7'"),
    "identity, upper case": ({"identity": URI.upper()}, "identity: not a valid Istio SPIFFE ID"),
    "identity, scheme": ({"identity": URI.replace("spiffe", "SPIFFE")}, "identity: not a valid Istio SPIFFE ID"),
    "identity, trust domain": ({"identity": URI.replace("local", "Local")}, "identity: not a valid trust domain"),
    "identity, new line": ({"identity": f"{URI}\n"}, "identity: not a valid service account"),
    "identity, glob": ({"identity": "spiffe://cluster.local/ns/shop/sa/*"}, "identity: not a valid service account"),
    "identity, number": ({"identity": 7}, f"identity: {_WRITE_TEXT}"),
    "pod, upper case": ({"pod_uid": UID.upper()}, "pod_uid: write a pod's metadata.uid as Kubernetes does"),
    "pod, space": ({"pod_uid": f"{UID} "}, "pod_uid: write"),
    "pod, empty": ({"pod_uid": ""}, "pod_uid: write"),
    "pod, long": ({"pod_uid": "a" * 129}, "pod_uid: write"),
    "pod, number": ({"pod_uid": 12345}, f"pod_uid: {_WRITE_TEXT}"),
    "key, no prefix": ({"key": DIGEST}, "key: write sha256: and the 64 hexadecimal digits"),
    "key, other hash": ({"key": f"sha512:{DIGEST}"}, "key: write sha256:"),
    "key, short": ({"key": f"sha256:{DIGEST[:-1]}"}, "key: write sha256:"),
    "key, long": ({"key": f"sha256:{DIGEST}0"}, "key: write sha256:"),
    "key, odd colons": ({"key": f"sha256:0:{DIGEST[1:]}"}, "key: write sha256:"),
    "key, new line": ({"key": f"sha256:{DIGEST}\n"}, "key: write sha256:"),
    "serial, number": ({"serial": 4711}, f"serial: {_WRITE_TEXT}"),
    "serial, zero": ({"serial": "00"}, "serial: write a certificate's serial in hexadecimal"),
    "serial, prefix": ({"serial": "0x1b"}, "serial: write"),
    "serial, negative": ({"serial": "-1b"}, "serial: write"),
    "serial, odd colons": ({"serial": "a:1b"}, "serial: write"),
    "serial, too large": ({"serial": "01" + "00" * 20}, "serial: write"),
    "serial, endless": ({"serial": "0" * 100_000 + "1"}, "serial: write"),
    "reason, number": ({"serial": "1", "reason": 7}, "reason: write a text on one line"),
    "reason, two lines": ({"serial": "1", "reason": "a\nb"}, "reason: write a text on one line"),
    "reason, long": ({"serial": "1", "reason": "x" * 201}, "reason: write a text on one line, 200 characters"),
    "until, no zone": ({"serial": "1", "until": "2026-12-01T00:00:00"}, "until: write a time with its zone"),
    "until, day": ({"serial": "1", "until": NOW.date()}, "until: write a time with its zone"),
    "until, naive": ({"serial": "1", "until": NOW.replace(tzinfo=None)}, "until: write a time with its zone"),
    "until, no time": ({"serial": "1", "until": "tomorrow"}, "until: write a time with its zone"),
    "until, number": ({"serial": "1", "until": 0}, "until: write a time with its zone"),
    "until, before time": ({"serial": "1", "until": "0001-01-01T00:00:00+12:00"}, "until: write a time with its zone"),
}


@pytest.mark.parametrize(("entry", "told"), BAD.values(), ids=BAD)
def test_bad_entries(entry: object, told: str) -> None:
    """One of them, and there is no list; it is named by its place and its fault, shortly and on one line."""
    with pytest.raises(BadDenyList) as refusal:
        DenyList.parse([{"identity": URI}, entry])
    assert str(refusal.value).startswith(f"entry no. 2: {told}")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("document", [None, {}, {"identity": URI}, "[]", 7], ids=repr)
def test_not_a_list(document: object) -> None:
    """Not even nothing: a file that is being written is empty for a moment, and that must let nobody through."""
    with pytest.raises(BadDenyList, match=r"must be a list of entries; one without entries is written \[\]"):
        DenyList.parse(document)


def test_no_entries() -> None:
    assert len(DenyList.parse([])) == 0
    assert DenyList.parse([]).fault(NOW, identities=[IDENTITY], pod_uid=UID, key=DIGEST, serial=1) is None


def test_many_faults() -> None:
    """The first ones are told, all at once."""
    with pytest.raises(BadDenyList) as refusal:
        DenyList.parse([{"serial": "x"}] * (MAX_FAULTS + 3))
    lines = str(refusal.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [f"entry no. {n}" for n in range(1, MAX_FAULTS + 1)]
    assert lines[-1] == "and 3 more"


def test_how_many() -> None:
    most = [{"serial": f"{n:x}"} for n in range(1, MAX_ENTRIES + 1)]
    assert len(DenyList.parse(most)) == MAX_ENTRIES
    with pytest.raises(BadDenyList, match="there are 100001 entries; 100000 are allowed"):
        DenyList.parse([*most, {"serial": "1"}])


EVERYBODY = DenyList.parse([entry for entry, _, _ in GOOD.values()])
LOOK_ALIKES: dict[str, dict[str, object]] = {
    "other trust domain": {"identities": [SpiffeId.parse(URI.replace("cluster.local", "other.example"))]},
    "longer trust domain": {"identities": [SpiffeId.parse(URI.replace("cluster.local", "cluster.local.x"))]},
    "longer account": {"identities": [SpiffeId.parse(f"{URI}-2")]},
    "shorter account": {"identities": [SpiffeId.parse(URI[:-1])]},
    "other namespace": {"identities": [SpiffeId.parse(URI.replace("shop", "shop2"))]},
    "other pod": {"pod_uid": UID[:-1]},
    "pod, upper case": {"pod_uid": UID.upper()},
    "other key": {"key": DIGEST[::-1]},
    "serial's prefix": {"serial": 0xA1},
    "key as pod": {"pod_uid": DIGEST},
}


@pytest.mark.parametrize("asked", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alikes(asked: dict[str, object]) -> None:
    """Others are others."""
    assert EVERYBODY.fault(NOW, **asked) is None  # type: ignore[arg-type]


def test_either_identity() -> None:
    """Of the caller and of whom it acts for."""
    other = SpiffeId.parse("spiffe://cluster.local/ns/istio-system/sa/ztunnel")
    for identities in ([IDENTITY, other], [other, IDENTITY]):
        assert EVERYBODY.fault(NOW, identities=identities) == f"denied: identity {URI}"
    assert EVERYBODY.fault(NOW, identities=[other, other]) is None


UNTIL: dict[str, object] = {
    "text": "2025-06-01T13:00:00Z",
    "text with offset": "2025-06-01T15:00:00+02:00",
    "time": NOW + HOUR,
    "time elsewhere": (NOW + HOUR).astimezone(timezone(timedelta(hours=-5))),
}


@pytest.mark.parametrize("until", UNTIL.values(), ids=UNTIL)
def test_until(until: object) -> None:
    """Up to that moment, and not from it on."""
    denied = DenyList.parse([{"identity": URI, "until": until}])
    assert denied.fault(NOW + HOUR - SECOND, identities=[IDENTITY]) == f"denied: identity {URI}"
    assert denied.fault(NOW + HOUR, identities=[IDENTITY]) is None
    assert (denied.past(NOW), denied.past(NOW + HOUR)) == (0, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_twice(order: int) -> None:
    """The longer one counts, wherever it stands."""
    soon, late = {"identity": URI, "until": "2025-06-01T13:00:00Z"}, {"identity": URI, "until": "2025-06-01T14:00:00Z"}
    ever = {"identity": URI}
    assert DenyList.parse([soon, late][::order]).fault(NOW + HOUR, identities=[IDENTITY])
    later = datetime(9999, 1, 1, tzinfo=UTC)
    assert DenyList.parse([late, ever][::order]).fault(later, identities=[IDENTITY])


def test_what_has_ended_hides_nothing() -> None:
    """An identity's entry that has ended does not keep the pod's from counting."""
    denied = DenyList.parse([{"identity": URI, "until": "2020-01-01T00:00:00Z"}, {"pod_uid": UID}])
    assert denied.fault(NOW, identities=[IDENTITY], pod_uid=UID) == f"denied: pod_uid {UID}"


def test_a_key_is_its_point() -> None:
    """The same key with its point compressed is no way around."""
    plain = parsed_csr().key
    point = plain.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    kind = der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"))
    compressed = parse_csr(pem(csr_der(wants(URI), public=der.sequence(kind, der.bits(point)))))
    assert der.bits(point) in compressed.request.public_bytes(Encoding.DER)
    assert key_digest(compressed.key) == key_digest(plain)
    assert key_digest(parsed_csr("p256/another").key) != key_digest(plain)


def test_a_key_is_what_openssl_prints() -> None:
    """Of the SubjectPublicKeyInfo as certificates hold it."""
    request: x509.CertificateSigningRequest = parsed_csr().request
    encoded = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key_digest(parsed_csr().key) == sha256(encoded).hexdigest()
    assert encoded in request.public_bytes(Encoding.DER)
