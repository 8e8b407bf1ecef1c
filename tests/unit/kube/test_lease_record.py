"""What is decided upon a Lease, as a table, and what is written."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from signer.kube.lease_record import LeaseRecord, Move, Seen, claim, decide, micro_time, observe, release
from tests.support.clock import NOW, SECOND

ME, OTHER = "pod-a_1", "pod-b_2"
SPEC = {
    "holderIdentity": OTHER,
    "leaseDurationSeconds": 15,
    "leaseTransitions": 7,
    "acquireTime": "2025-06-01T11:00:00.000000Z",
    "renewTime": "2025-06-01T11:59:00.000000Z",
}


def lease(version: str = "5", uid: str = "u", **spec: Any) -> dict[str, Any]:
    """The object, with a field of its spec left out where it is None."""
    metadata = {"name": "istio-signer", "uid": uid, "resourceVersion": version, "labels": {"a": "b"}}
    return {"metadata": metadata, "spec": {key: value for key, value in {**SPEC, **spec}.items() if value is not None}}


def record(version: str = "5", uid: str = "u", **spec: Any) -> LeaseRecord:
    """As read by somebody whose own duration is 10 s."""
    return LeaseRecord.read(lease(version, uid, **spec), 10.0)


MINE = record(holderIdentity=ME)
FREE = record(holderIdentity="", leaseDurationSeconds=1)

DECISIONS: list[tuple[str, Seen | None, bool, float, Move]] = [
    ("there never was one", None, False, 0.0, Move.CREATE),
    ("another holds it, just seen", Seen(record(), 100.0), False, 100.0, Move.FOLLOW),
    ("another holds it, about to expire", Seen(record(), 100.0), False, 114.999, Move.FOLLOW),
    ("another held it, expired", Seen(record(), 100.0), False, 115.0, Move.TAKE),
    (
        "the record's duration counts, a longer one",
        Seen(record(leaseDurationSeconds=60), 100.0),
        False,
        159.0,
        Move.FOLLOW,
    ),
    (
        "the record's duration counts, a shorter one",
        Seen(record(leaseDurationSeconds=2), 100.0),
        False,
        102.0,
        Move.TAKE,
    ),
    (
        "a record without a duration binds for ours",
        Seen(record(leaseDurationSeconds=None), 100.0),
        False,
        109.9,
        Move.FOLLOW,
    ),
    ("and no longer", Seen(record(leaseDurationSeconds=None), 100.0), False, 110.0, Move.TAKE),
    ("released", Seen(FREE, 100.0), False, 100.0, Move.TAKE),
    ("never held: made by hand", Seen(record(holderIdentity=None), 100.0), False, 100.0, Move.TAKE),
    ("ours", Seen(MINE, 100.0), False, 101.0, Move.RENEW),
    ("ours, and expired long ago: nobody took it", Seen(MINE, 100.0), False, 999.0, Move.RENEW),
    ("ours, deleted while we lead", Seen(MINE, 100.0, gone=True), True, 101.0, Move.CREATE),
    ("ours, deleted and we lapsed: perhaps taken in between", Seen(MINE, 100.0, gone=True), False, 114.0, Move.FOLLOW),
    ("ours, deleted, lapsed and expired", Seen(MINE, 100.0, gone=True), False, 115.0, Move.CREATE),
    ("ours while we lead", Seen(MINE, 100.0), True, 101.0, Move.RENEW),
    ("another's, deleted: it may not have noticed", Seen(record(), 100.0, gone=True), False, 114.0, Move.FOLLOW),
    ("another's, deleted and expired", Seen(record(), 100.0, gone=True), False, 115.0, Move.CREATE),
    ("released, then deleted: perhaps taken in between", Seen(FREE, 100.0, gone=True), False, 109.0, Move.FOLLOW),
    ("released, then deleted, expired", Seen(FREE, 100.0, gone=True), False, 110.0, Move.CREATE),
]


@pytest.mark.parametrize(
    ("seen", "leads", "now", "move"), [case[1:] for case in DECISIONS], ids=[case[0] for case in DECISIONS]
)
def test_what_is_done_next(seen: Seen | None, leads: bool, now: float, move: Move) -> None:
    assert decide(seen, ME, leads, now) is move


RENEWALS: list[tuple[str, LeaseRecord, bool]] = [
    ("nothing was written", record(), False),
    ("a label was touched, or all is written as it was", record(version="6"), True),
    ("renewed", record(version="6", renewTime="2025-06-01T11:59:05.000000Z"), True),
    ("renewed by a clock that was set back", record(version="6", renewTime="1999-01-01T00:00:00.000000Z"), True),
    ("another took it", record(version="6", holderIdentity="pod-c_3"), True),
    ("it changed hands", record(version="6", leaseTransitions=8), True),
    ("deleted and made again as it was", record(version="6", uid="v"), True),
    ("another duration", record(version="6", leaseDurationSeconds=30), True),
]


@pytest.mark.parametrize(("later", "anew"), [case[1:] for case in RENEWALS], ids=[case[0] for case in RENEWALS])
def test_a_record_binds_from_when_it_was_first_seen_as_it_is(later: LeaseRecord, anew: bool) -> None:
    seen = observe(observe(None, record(), 100.0), later, 110.0)
    assert seen is not None
    assert seen.since == (110.0 if anew else 100.0)
    assert seen.record.manifest is later.manifest, "an update needs the latest version"


def test_a_lease_that_is_gone_binds_on_until_one_is_seen_again() -> None:
    assert observe(None, None, 1.0) is None
    gone = observe(Seen(record(), 100.0), None, 105.0)
    assert gone == Seen(record(), 105.0, gone=True)
    assert observe(gone, None, 109.0) == gone
    assert observe(gone, record(), 109.0) == Seen(record(), 109.0)
    again = record(version="6", uid="v")
    assert observe(gone, again, 106.0) == Seen(again, 106.0)


CLAIMS: list[tuple[str, Seen | None, int, bool]] = [
    ("the first", None, 0, False),
    ("of a released one", Seen(FREE, 0.0), 8, False),
    ("of an expired one", Seen(record(), 0.0), 8, False),
    ("a renewal", Seen(MINE, 0.0), 7, True),
    ("of one made by hand", Seen(record(holderIdentity=None, leaseTransitions=None), 0.0), 1, False),
    ("of another's that is gone", Seen(record(), 0.0, gone=True), 8, False),
    ("of ours that is gone", Seen(MINE, 0.0, gone=True), 7, True),
]


@pytest.mark.parametrize(
    ("seen", "transitions", "acquired_before"), [case[1:] for case in CLAIMS], ids=[case[0] for case in CLAIMS]
)
def test_what_a_claim_writes(seen: Seen | None, transitions: int, acquired_before: bool) -> None:
    manifest = claim(seen, ME, 12.5, NOW)
    assert manifest["spec"] == {
        "holderIdentity": ME,
        "leaseDurationSeconds": 13,
        "leaseTransitions": transitions,
        "acquireTime": SPEC["acquireTime"] if acquired_before else "2025-06-01T12:00:00.000000Z",
        "renewTime": "2025-06-01T12:00:00.000000Z",
    }
    assert manifest.get("metadata") == (None if seen is None or seen.gone else seen.record.manifest["metadata"])


def test_what_is_not_ours_stays() -> None:
    manifest = claim(Seen(record(strategy="x"), 0.0), ME, 15.0, NOW)
    assert manifest["spec"]["strategy"] == "x"
    assert manifest["metadata"]["labels"] == {"a": "b"}


def test_a_release_names_nobody_and_keeps_the_count() -> None:
    manifest = release(Seen(MINE, 0.0), NOW)
    moment = "2025-06-01T12:00:00.000000Z"
    assert manifest["spec"] == {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "leaseTransitions": 7,
        "acquireTime": moment,
        "renewTime": moment,
    }
    assert manifest["metadata"] == MINE.manifest["metadata"]


def test_a_wall_clock_that_stands_still_renews_visibly() -> None:
    first = LeaseRecord.read({**lease(), **claim(None, ME, 15.0, NOW)}, 15.0)
    second = claim(Seen(first, 0.0), ME, 15.0, NOW)
    assert second["spec"]["renewTime"] != first.renewed


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2006, 1, 2, 15, 4, 5, tzinfo=UTC), "2006-01-02T15:04:05.000000Z"),
        (datetime(2006, 1, 2, 15, 4, 5, 7, tzinfo=UTC), "2006-01-02T15:04:05.000007Z"),
        (datetime(2006, 1, 2, 17, 4, 5, tzinfo=timezone(2 * 3600 * SECOND)), "2006-01-02T15:04:05.000000Z"),
    ],
)
def test_times_are_written_as_kubernetes_writes_them(moment: datetime, written: str) -> None:
    assert micro_time(moment) == written
    assert micro_time(moment + timedelta(0)) == written


@pytest.mark.parametrize(
    "manifest",
    [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"resourceVersion": "1"}, "spec": ["holderIdentity"]}],
)
def test_what_is_no_lease_is_told_as_such(manifest: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a Lease"):
        LeaseRecord.read(manifest, 15.0)


@pytest.mark.parametrize("value", [0, -3, "15", 1.5, None])
def test_a_number_that_is_none_counts_as_missing(value: object) -> None:
    odd = record(leaseDurationSeconds=value, leaseTransitions=value)
    assert odd == replace(odd, duration=10.0, transitions=0)
