"""What replicas remember of roots: for how long, what is forgotten first, and a text that anybody may have written."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from signer.core.chain import fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import MAX_BYTES, MAX_ROOTS, STEP, BadRecord, KnownRoot, TrustRecord, decode, encode
from tests.support.anchors import many
from tests.support.clock import HOUR, NOW, SECOND
from tests.support.pki import make_ca

A, B, C = (make_ca(f"root {letter}").certificate for letter in "abc")
EMPTY = TrustRecord()


def record(*known: KnownRoot, rotation: Rotation | None = None) -> TrustRecord:
    """A record of these."""
    return TrustRecord({fingerprint(k.certificate): k for k in known}, rotation)


def rotating(phase: Phase) -> Rotation:
    """From A to B."""
    return Rotation("r1", "vault", phase, (A,), NOW, B)


def known(*roots: x509.Certificate, until: datetime = NOW + HOUR) -> list[KnownRoot]:
    """Vouched for until then."""
    return [KnownRoot(root, until) for root in roots]


def marks(*roots: x509.Certificate) -> frozenset[str]:
    """Their fingerprints."""
    return frozenset(map(fingerprint, roots))


def test_vouching() -> None:
    """A new root is noted; a known one is prolonged, and neither what is published nor the rotation is lost."""
    rotation = rotating(Phase.TRUSTING)
    before = record(KnownRoot(A, NOW, everywhere=NOW), rotation=rotation)
    after = before.vouched(known(A, B))
    assert after == record(KnownRoot(A, NOW + HOUR, everywhere=NOW), KnownRoot(B, NOW + HOUR), rotation=rotation)


@pytest.mark.parametrize(
    ("by", "noted"), [(STEP - SECOND, False), (STEP, True), (STEP + SECOND, True), (-HOUR, False), (SECOND * 0, False)]
)
def test_small_steps_are_not_noted(by: timedelta, noted: bool) -> None:
    """Each note is a write; and nothing is ever cut short."""
    before = record(*known(A))
    after = before.vouched(known(A, until=NOW + HOUR + by))
    assert (after is before) == (not noted)
    assert after.roots[fingerprint(A)].until == NOW + HOUR + (by if noted else SECOND * 0)


def test_published() -> None:
    """Since the first time; a namespace that lacks it starts it anew."""
    before = record(*known(A, B))
    once = before.published(marks(A), NOW)
    assert once == record(KnownRoot(A, NOW + HOUR, NOW), KnownRoot(B, NOW + HOUR))
    assert once.published(marks(A), NOW + SECOND) is once
    both = once.published(marks(A, B, C), NOW + SECOND)
    assert both == record(KnownRoot(A, NOW + HOUR, NOW), KnownRoot(B, NOW + HOUR, NOW + SECOND))
    assert both.published(marks(B), NOW + HOUR) == record(
        KnownRoot(A, NOW + HOUR), KnownRoot(B, NOW + HOUR, NOW + SECOND)
    )


def test_pruned() -> None:
    """Until the moment, and not at it."""
    before = record(*known(A), *known(B, until=NOW + 2 * HOUR))
    assert before.pruned(NOW + HOUR - SECOND) is before
    assert before.pruned(NOW + HOUR) == record(*known(B, until=NOW + 2 * HOUR))


@pytest.mark.parametrize(
    ("phase", "kept", "trusted"),
    [
        (Phase.PREPARING, {A}, {A}),
        (Phase.TRUSTING, {A, B}, {A, B}),
        (Phase.SWITCHING, {A, B}, {A, B}),
        (Phase.SIGNING, {A, B}, {A, B}),
        (Phase.RETIRING, {A, B}, {A, B}),
        (Phase.DONE, set(), set()),
        (Phase.ABORTING, {A}, {A}),
        (Phase.ABORTED, set(), set()),
    ],
    ids=lambda value: value.value if isinstance(value, Phase) else "",
)
def test_a_rotation_holds_roots(phase: Phase, kept: set[x509.Certificate], trusted: set[x509.Certificate]) -> None:
    """Long after the last vouching; and they are trusted even where nobody has vouched."""
    rotation = rotating(phase)
    after = record(*known(A, B, C), rotation=rotation).pruned(NOW + 9 * HOUR)
    assert {k.certificate for k in after.roots.values()} == kept
    assert set(TrustRecord({}, rotation).trusted) == trusted
    assert set(after.trusted) == trusted


@pytest.mark.parametrize(("phase", "gone"), [(Phase.DONE, A), (Phase.ABORTED, B)])
def test_what_a_rotation_has_removed_is_forgotten_at_once(phase: Phase, gone: x509.Certificate) -> None:
    """Whoever vouched for it, and however long."""
    one = record(*known(A, B), rotation=rotating(phase))
    assert one.forgotten == marks(gone)
    assert gone not in one.pruned(NOW).trusted
    assert fingerprint(gone) not in one.pruned(NOW).roots


def test_trusted_without_a_rotation() -> None:
    """What lives."""
    one = record(*known(A), *known(B, until=NOW))
    assert (one.pruned(NOW).trusted, one.forgotten) == ((A,), frozenset())


def test_merged() -> None:
    """The longer time; of what is published and of the rotation, the other's word."""
    mine = record(KnownRoot(A, NOW + HOUR, NOW), KnownRoot(B, NOW), rotation=rotating(Phase.TRUSTING))
    other = record(KnownRoot(A, NOW), KnownRoot(C, NOW, NOW), rotation=rotating(Phase.SIGNING))
    assert mine.merged(other) == record(
        KnownRoot(A, NOW + HOUR), KnownRoot(B, NOW), KnownRoot(C, NOW, NOW), rotation=rotating(Phase.SIGNING)
    )
    assert other.merged(EMPTY).rotation is None


def test_a_bound_on_roots() -> None:
    """Those that are vouched for longest stay."""
    roots = many(MAX_ROOTS + 6)
    old = [KnownRoot(root, NOW) for root in roots[:10]]
    young = [KnownRoot(root, NOW + HOUR) for root in roots[10:]]
    full = EMPTY.vouched([*old, *young])
    assert len(full.roots) == MAX_ROOTS
    assert set(full.roots) >= marks(*roots[10:])
    assert record(*old).merged(record(*young)) == full


@pytest.mark.parametrize("order", [1, -1])
def test_equal_times_are_forgotten_alike(order: int) -> None:
    """Replicas that learn in another order must not differ for ever."""
    roots = many(MAX_ROOTS + 20)
    first, second = record(*known(*roots[:50])), record(*known(*roots[50:]))
    latest = sorted(marks(*roots))[-MAX_ROOTS:]
    assert list((first.merged(second) if order > 0 else second.merged(first)).roots) == latest
    assert list(EMPTY.vouched(known(*roots[::order])).roots) == latest


def test_the_text() -> None:
    """Pinned: replicas of two versions read each other's."""
    data = json.loads(encode(record(KnownRoot(A, NOW, NOW), rotation=rotating(Phase.TRUSTING))))
    assert data.keys() == {"version", "roots", "rotation"}
    assert data["version"] == 1
    (root,) = data["roots"]
    assert (root["until"], root["everywhere"]) == ("2025-06-01T12:00:00+00:00", "2025-06-01T12:00:00+00:00")
    assert root["pem"].startswith("-----BEGIN CERTIFICATE-----\n")
    assert {k: v for k, v in data["rotation"].items() if k not in {"old", "new"}} == {
        "id": "r1",
        "backend": "vault",
        "phase": "trusting",
        "since": "2025-06-01T12:00:00+00:00",
        "handle": "",
        "given": False,
    }
    assert json.loads(encode(EMPTY)) == {"version": 1, "roots": [], "rotation": None}


def test_a_full_record_fits_into_a_config_map() -> None:
    """And is read again."""
    full = EMPTY.vouched(known(*many(MAX_ROOTS)))
    assert decode(encode(full)) == full


Change = Callable[[dict[str, Any]], object]
BAD: dict[str, Change] = {
    "no version": lambda data: data.pop("version"),
    "no roots": lambda data: data.pop("roots"),
    "no rotation": lambda data: data.pop("rotation"),
    "roots are a number": lambda data: data.update(roots=1),
    "roots are a mapping": lambda data: data.update(roots={"a": 1}),
    "a root is a text": lambda data: data.update(roots=["a"]),
    "no certificate": lambda data: data["roots"][0].pop("pem"),
    "certificate is null": lambda data: data["roots"][0].update(pem=None),
    "certificate is rubbish": lambda data: data["roots"][0].update(pem="rubbish"),
    "certificate is half a character": lambda data: data["roots"][0].update(pem="\ud800"),
    "time is a number": lambda data: data["roots"][0].update(until=5),
    "time is rubbish": lambda data: data["roots"][0].update(until="soon"),
    "time without its zone": lambda data: data["roots"][0].update(until="2025-06-01T12:00:00"),
    "published without a zone": lambda data: data["roots"][0].update(everywhere="2025-06-01T12:00:00"),
    "nothing said of publication": lambda data: data["roots"][0].pop("everywhere"),
    "rotation is a number": lambda data: data.update(rotation=1),
    "rotation is empty": lambda data: data.update(rotation={}),
    "unknown phase": lambda data: data["rotation"].update(phase="waiting"),
    "id is a list": lambda data: data["rotation"].update(id=["a"]),
    "backend is null": lambda data: data["rotation"].update(backend=None),
    "old is rubbish": lambda data: data["rotation"].update(old=["rubbish"]),
    "new is rubbish": lambda data: data["rotation"].update(new="rubbish"),
    "since without its zone": lambda data: data["rotation"].update(since="2025-06-01T12:00:00"),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_what_is_no_record(change: Change) -> None:
    """One error, which quotes nothing of it."""
    data = json.loads(encode(record(*known(A), rotation=rotating(Phase.TRUSTING))))
    change(data)
    with pytest.raises(BadRecord, match=r"^(it cannot be read|a time without|a name that)") as error:
        decode(json.dumps(data))
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "1", '"a"', "[" * 100_000, '{"version": 1e999}', "\x00"])
def test_what_is_no_json_object(text: str) -> None:
    """The same."""
    with pytest.raises(BadRecord):
        decode(text)


def test_of_a_later_version() -> None:
    """A newer replica has written it: hands off, and say which."""
    with pytest.raises(BadRecord, match="version 2; this program knows version 1"):
        decode(json.dumps({"version": 2}))


def test_too_long() -> None:
    """Not even parsed."""
    text = encode(EMPTY)
    assert decode(text + " " * (MAX_BYTES - len(text))) == EMPTY
    with pytest.raises(BadRecord, match="longer than"):
        decode(text + " " * (MAX_BYTES - len(text) + 1))


def test_a_record_is_a_value() -> None:
    """Equal parts, equal records: writers look whether anything has changed."""
    assert record(*known(A)) == record(*known(A)) != record(*known(B))
    assert replace(record(*known(A)), rotation=rotating(Phase.DONE)) != record(*known(A))
