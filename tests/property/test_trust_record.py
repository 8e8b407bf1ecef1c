"""What replicas remember, in any order and from anybody: it comes to the same, and nothing that is needed is lost."""

import json
import random
from contextlib import suppress
from datetime import UTC, timedelta, timezone

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from signer.core.chain import fingerprint
from signer.core.rotation import Phase, Rotation, WrongPhase
from signer.core.trust_record import BadRecord, KnownRoot, TrustRecord, decode, encode
from signer.core.types import IssuerInfo
from signer.trust.compose import TrustPolicy, compose, vouched
from tests.property.strategies import JSON
from tests.support.clock import HOUR, NOW
from tests.support.pki import make_ca

_ROOTS = [make_ca(f"root {number}").certificate for number in range(6)]
_MARKS = [fingerprint(root) for root in _ROOTS]
_ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
_MOMENTS = st.builds(lambda span, zone: (NOW + span).astimezone(zone), st.timedeltas(-2 * HOUR, 2 * HOUR), _ZONES)
_LISTS = st.lists(st.sampled_from(_ROOTS), max_size=6)
KNOWN = st.builds(KnownRoot, st.sampled_from(_ROOTS), _MOMENTS, st.none() | _MOMENTS)
ROTATIONS = st.builds(
    Rotation,
    st.text(max_size=10),
    st.text(max_size=10),
    st.sampled_from(Phase),
    st.lists(st.sampled_from(_ROOTS), max_size=3).map(tuple),
    _MOMENTS,
    st.none() | st.sampled_from(_ROOTS),
)
RECORDS = st.builds(
    lambda known, rotation: TrustRecord({fingerprint(k.certificate): k for k in known}, rotation),
    st.lists(KNOWN, max_size=8),
    st.none() | ROTATIONS,
)


def _untils(record: TrustRecord) -> dict[str, object]:
    return {mark: known.until for mark, known in record.roots.items()}


@given(RECORDS)
def test_round_trip(record: TrustRecord) -> None:
    """To the microsecond, whatever the zone and the names."""
    assert decode(encode(record)) == record
    assert encode(decode(encode(record))) == encode(record)


@given(RECORDS, st.randoms(use_true_random=False))
def test_the_text_does_not_depend_on_order(record: TrustRecord, chance: random.Random) -> None:
    """Equal records, equal bytes: a writer that compares texts writes nothing twice."""
    items = list(record.roots.items())
    chance.shuffle(items)
    assert encode(TrustRecord(dict(items), record.rotation)) == encode(record)


@given(RECORDS, RECORDS, RECORDS)
def test_merging(a: TrustRecord, b: TrustRecord, c: TrustRecord) -> None:
    """Of roots and their times: commutes, associates, is idempotent, has a neutral element, loses nothing."""
    assert _untils(a.merged(b)) == _untils(b.merged(a))
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(a) == a
    assert _untils(a.merged(TrustRecord())) == _untils(a)
    assert a.merged(b).rotation == b.rotation
    for mark, known in a.roots.items():
        assert a.merged(b).roots[mark].until >= known.until


@given(RECORDS, _MOMENTS.map(lambda moment: moment.astimezone(UTC)))
def test_pruning(record: TrustRecord, now: object) -> None:
    """What a rotation holds stays, what it has removed goes, and a second time there is nothing to do."""
    pruned = record.pruned(now)  # type: ignore[arg-type]
    held = {fingerprint(c) for c in record.rotation.trusted} if record.rotation else set()
    assert held & record.roots.keys() <= pruned.roots.keys()
    assert pruned.roots.keys() <= record.roots.keys() - record.forgotten
    assert {m for m, k in record.roots.items() if k.until > now} - record.forgotten <= pruned.roots.keys()  # type: ignore[operator]
    assert pruned.pruned(now) is pruned  # type: ignore[arg-type]
    assert held <= set(map(fingerprint, pruned.trusted))


@given(ROTATIONS)
def test_nobody_is_trusted_and_forgotten(rotation: Rotation) -> None:
    """Whatever the CA gave for its new root."""
    assert rotation.forgotten.isdisjoint(map(fingerprint, rotation.trusted))


_STEPS = st.lists(st.sampled_from(["intend", "give_up", "done"]), max_size=20)


@given(st.lists(st.sampled_from(_ROOTS[:3]), min_size=1, max_size=3).map(tuple), st.sampled_from(_ROOTS[3:]), _STEPS)
def test_any_walk(old: tuple[x509.Certificate, ...], new: x509.Certificate, steps: list[str]) -> None:
    """Old roots are held until it is over; the new one from trusting until it is over or given up."""
    rotation, came = Rotation("r", "b", Phase.PREPARING, old, NOW), [Phase.PREPARING]
    for step in steps:
        with suppress(WrongPhase):
            rotation = getattr(rotation, step)(*((NOW, new) if step == "done" else (NOW,)))
        came.append(rotation.phase)
        assert (set(old) <= set(rotation.trusted)) == (not rotation.over)
        after = Phase.TRUSTING in came and rotation.phase not in {Phase.ABORTING, Phase.ABORTED, Phase.DONE}
        assert (new in rotation.trusted) == after


@given(st.lists(_LISTS, max_size=3), _LISTS, RECORDS, st.sets(st.sampled_from(_MARKS)), st.randoms())
def test_the_bundle_does_not_depend_on_order(
    shown: list[list[x509.Certificate]],
    extras: list[x509.Certificate],
    record: TrustRecord,
    distrust: set[str],
    chance: random.Random,
) -> None:
    """Two replicas that have learnt the same answer with the same bytes; the operator's word is the last."""
    policy = TrustPolicy(HOUR, distrust=frozenset(distrust))

    def bundle() -> str:
        infos = {
            f"b{index}": IssuerInfo(tuple(roots)) for index, roots in chance.sample(list(enumerate(shown)), len(shown))
        }
        roots, _ = vouched(infos, policy, NOW)
        memory = TrustRecord(dict(chance.sample(list(record.roots.items()), len(record.roots))), record.rotation)
        more = tuple(chance.sample(extras, len(extras)))
        return compose(chance.sample(roots, len(roots)), memory, more, policy, NOW).bundle.pem

    first = bundle()
    assert {bundle() for _ in range(4)} == {first}
    wanted = {c for roots in shown for c in roots} | set(extras) | set(record.trusted)
    assert first.count("BEGIN") == len([c for c in wanted if fingerprint(c) not in distrust])


@given(JSON)
def test_any_json(value: object) -> None:
    """A record or a `BadRecord`, nothing else."""
    for text in (json.dumps(value), json.dumps({"version": 1, "roots": value, "rotation": None})):
        try:
            decode(text)
        except BadRecord:
            continue
        assert value in ([], {}, "")


@given(RECORDS, st.data())
def test_a_record_with_a_strange_value(record: TrustRecord, data: st.DataObject) -> None:
    """Any one value of it replaced."""
    whole = json.loads(encode(record))
    places = [whole, *whole["roots"], *([whole["rotation"]] if whole["rotation"] else [])]
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    try:
        decode(json.dumps(whole))
    except BadRecord as error:
        assert len(str(error)) < 300  # noqa: PT017
