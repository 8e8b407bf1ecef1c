"""What a rotation waits for: each gate in each phase, at the moment before and at the moment itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509

from signer.core.chain import fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import KnownRoot, TrustRecord
from signer.trust.rotation.gates import (
    OPEN,
    AllGates,
    GateView,
    NamespaceGate,
    PolicyGate,
    ServingGate,
    TimeGate,
    Waits,
)
from tests.support.clock import DAY, HOUR, NOW, SECOND
from tests.support.pki import make_ca

OLD, NEW = make_ca("old root").certificate, make_ca("new root").certificate
MINUTE = 60 * SECOND
SETTLE, INTERVAL, LIFE = 3 * MINUTE, 12 * HOUR, DAY
ALONE = Waits(INTERVAL, SETTLE, LIFE, distributed=False)
SHARED = replace(ALONE, distributed=True)
TRUSTING = Rotation("r1", "local", Phase.TRUSTING, (OLD,), NOW, NEW)
SIGNING = replace(TRUSTING, phase=Phase.SIGNING)
CLIENTS = "every client to have had an answer with the new root"
LEAVES = "the last leaves of the old root to end"
LEADER = "the leader to have written the new root to every namespace"


def held(since: datetime | None) -> TrustRecord:
    """A record that knows the new root, and since when every namespace has held it."""
    return TrustRecord({fingerprint(NEW): KnownRoot(NEW, NOW + HOUR, since)})


@dataclass(frozen=True, slots=True)
class Case:
    """Opens at a moment, and says what it waits for until then."""

    waits: Waits
    rotation: Rotation
    record: TrustRecord
    opens: timedelta
    says: str


NOBODY = TrustRecord()
CASES = {
    "trusting, alone": Case(ALONE, TRUSTING, NOBODY, SETTLE + INTERVAL, CLIENTS),
    "trusting, alone, whatever a leader once said": Case(ALONE, TRUSTING, held(NOW + DAY), SETTLE + INTERVAL, CLIENTS),
    "trusting, everywhere late": Case(SHARED, TRUSTING, held(NOW + HOUR), HOUR + INTERVAL, CLIENTS),
    "trusting, everywhere before replicas settled": Case(SHARED, TRUSTING, held(NOW), SETTLE + INTERVAL, CLIENTS),
    "trusting, everywhere since long ago": Case(SHARED, TRUSTING, held(NOW - DAY), SETTLE + INTERVAL, CLIENTS),
    "signing, alone": Case(ALONE, SIGNING, NOBODY, SETTLE + LIFE, LEAVES),
    "signing, shared": Case(SHARED, SIGNING, held(NOW + HOUR), SETTLE + LIFE, LEAVES),
    # Leaves end by themselves; a namespace that is new and has no ConfigMap yet does not prolong them.
    "signing, not everywhere": Case(SHARED, SIGNING, held(None), SETTLE + LIFE, LEAVES),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_time_opens_it(case: Case) -> None:
    """Closed to the last second, with the moment said; open at the moment and ever after."""
    gate, moment = TimeGate(case.waits), NOW + case.opens
    for early in (NOW, moment - SECOND):
        assert await gate.look(case.rotation, case.record, early) == GateView(False, case.says, moment)
    for late in (moment, moment + DAY):
        assert await gate.look(case.rotation, case.record, late) == OPEN


UNKNOWN = {
    "not everywhere": (TRUSTING, held(None)),
    "nobody knows the root": (TRUSTING, NOBODY),
    "another root is everywhere": (TRUSTING, TrustRecord({fingerprint(OLD): KnownRoot(OLD, NOW + HOUR, NOW)})),
    "no new root": (replace(TRUSTING, new=None), held(NOW)),
}


@pytest.mark.parametrize(("rotation", "record"), UNKNOWN.values(), ids=UNKNOWN)
async def test_no_time_opens_it(rotation: Rotation, record: TrustRecord) -> None:
    """The leader has not said that the root is everywhere: nobody knows when it will be."""
    assert await TimeGate(SHARED).look(rotation, record, NOW + 99 * DAY) == GateView(False, LEADER)


class Namespaces:
    """Says which do not hold a root, and notes who asked."""

    def __init__(self, *lacking: str) -> None:
        self.answer = lacking
        self.asked: list[str] = []

    async def lacking(self, mark: str) -> Sequence[str]:
        """As the cluster shows it."""
        self.asked.append(mark)
        return self.answer


SHOWN = {
    1: "the new root in 1 namespace(s): ns-0",
    5: "the new root in 5 namespace(s): ns-0, ns-1, ns-2, ns-3, ns-4",
    6: "the new root in 6 namespace(s): ns-0, ns-1, ns-2, ns-3, ns-4 and 1 more",
    9: "the new root in 9 namespace(s): ns-0, ns-1, ns-2, ns-3, ns-4 and 4 more",
}


@pytest.mark.parametrize("count", SHOWN)
async def test_who_lacks_the_root_is_named(count: int) -> None:
    """Five of them in order, however the cluster lists them; there is no time to give."""
    cluster = Namespaces(*(f"ns-{number}" for number in reversed(range(count))))
    assert await NamespaceGate(cluster.lacking).look(TRUSTING, NOBODY, NOW) == GateView(False, SHOWN[count])
    assert cluster.asked == [fingerprint(NEW)]


async def test_nobody_lacks_the_root() -> None:
    """The cluster was asked for it."""
    cluster = Namespaces()
    assert await NamespaceGate(cluster.lacking).look(TRUSTING, NOBODY, NOW) == OPEN
    assert cluster.asked == [fingerprint(NEW)]


@pytest.mark.parametrize(
    "rotation",
    [*(replace(TRUSTING, phase=phase) for phase in Phase if phase is not Phase.TRUSTING), replace(TRUSTING, new=None)],
    ids=lambda rotation: rotation.phase.value + ("" if rotation.new else ", no new root"),
)
async def test_namespaces_matter_in_trusting_only(rotation: Rotation) -> None:
    """The cluster is not even asked."""
    cluster = Namespaces("ns-0")
    assert await NamespaceGate(cluster.lacking).look(rotation, NOBODY, NOW) == OPEN
    assert cluster.asked == []


class Fixed:
    """A gate that is as it is."""

    def __init__(self, view: GateView) -> None:
        self.view = view
        self.looks = 0

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """See ``Gate``."""
        self.looks += 1
        return self.view


FIRST, SECOND_ONE = GateView(False, "the first"), GateView(False, "the second", NOW)
# What each says; what all say; how many were asked.
TOGETHER: dict[str, tuple[tuple[GateView, ...], GateView, int]] = {
    "none": ((), OPEN, 0),
    "all open": ((OPEN, OPEN), OPEN, 2),
    "the first": ((FIRST, OPEN), FIRST, 1),
    "the last": ((OPEN, SECOND_ONE), SECOND_ONE, 2),
    "both": ((FIRST, SECOND_ONE), FIRST, 1),
    "both, the other way": ((SECOND_ONE, FIRST), SECOND_ONE, 1),
}


@pytest.mark.parametrize(("views", "says", "asked"), TOGETHER.values(), ids=TOGETHER)
async def test_the_first_that_is_closed_speaks(views: tuple[GateView, ...], says: GateView, asked: int) -> None:
    """Whoever comes after it is not asked."""
    gates = tuple(map(Fixed, views))
    assert await AllGates(gates).look(TRUSTING, NOBODY, NOW) == says
    assert sum(gate.looks for gate in gates) == asked


MARK, OTHERS = fingerprint(NEW), fingerprint(OLD)


@pytest.mark.parametrize(
    ("pins", "distrust", "says"),
    [
        (None, frozenset(), ""),
        (frozenset({OTHERS, MARK}), frozenset(), ""),
        (frozenset({OTHERS}), frozenset(), f"backends.vault.pins to name the new root {MARK}, on all signers"),
        (None, frozenset({MARK}), f"trust.distrust to name {MARK} no longer; or abort"),
    ],
)
@pytest.mark.parametrize("rotation", [TRUSTING, SIGNING], ids=["trusting", "signing"])
async def test_the_operators_own_word(
    pins: frozenset[str] | None, distrust: frozenset[str], says: str, rotation: Rotation
) -> None:
    """Without the rotation a root that is not pinned, or distrusted, would be trusted by nobody."""
    view = await PolicyGate("vault", pins, distrust).look(rotation, NOBODY, NOW)
    assert view == (GateView(False, says) if says else OPEN)


@pytest.mark.parametrize(
    ("chain", "rotation", "is_open"),
    [
        ([make_ca("served", make_ca("old root")).certificate], SIGNING, False),
        ([make_ca("served", make_ca("new root")).certificate], SIGNING, True),
        ([make_ca("served", make_ca("old root")).certificate], TRUSTING, True),
    ],
)
async def test_a_serving_certificate_from_files(
    chain: Sequence[x509.Certificate], rotation: Rotation, is_open: bool
) -> None:
    """Nobody here renews it: while it leads to the old root, that must stay."""

    async def read() -> Sequence[x509.Certificate]:
        return chain

    assert (await ServingGate(read).look(rotation, NOBODY, NOW)).open == is_open
