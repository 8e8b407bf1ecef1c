"""The bundle as a function: who may vouch for what and for how long, and whose word is the last."""

from datetime import datetime

import pytest
from cryptography import x509

from signer.core.anchors import Dropped
from signer.core.chain import TrustBundle, fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import STEP, KnownRoot, TrustRecord
from signer.core.types import IssuerInfo
from signer.trust.compose import TrustPolicy, compose, vouched
from tests.support import anchors
from tests.support.clock import HOUR, NOW, SECOND
from tests.support.pki import make_ca

A, B, C, D = (make_ca(f"root {letter}").certificate for letter in "abcd")
NOBODY = TrustRecord()


def marks(*roots: x509.Certificate) -> frozenset[str]:
    """Their fingerprints."""
    return frozenset(map(fingerprint, roots))


def shown(*roots: x509.Certificate, configured: bool = False) -> dict[str, IssuerInfo]:
    """What backend ``b`` shows."""
    return {"b": IssuerInfo(roots, configured=configured)}


@pytest.mark.parametrize(
    ("policy", "configured", "until"),
    [
        (TrustPolicy(), False, NOW),
        (TrustPolicy(), True, NOW),
        (TrustPolicy(retention=HOUR), False, NOW + HOUR + STEP),
        (TrustPolicy(retention=HOUR), True, NOW),
        (TrustPolicy(retention=HOUR, grace=SECOND), True, NOW + SECOND + STEP),
    ],
)
def test_for_how_long(policy: TrustPolicy, configured: bool, until: datetime) -> None:
    """What a signer shows outlives its leaves, and what a file says only the reading of it elsewhere."""
    assert vouched(shown(A, configured=configured), policy, NOW) == ((KnownRoot(A, until),), ())


def test_pins() -> None:
    """Of this backend only; the text has the whole fingerprint, ready to be copied, if that is right."""
    policy = TrustPolicy(pins={"b": marks(A)})
    infos = shown(A, B) | {"free": IssuerInfo((C,))}
    roots, dropped = vouched(infos, policy, NOW)
    assert [root.certificate for root in roots] == [A, C]
    mark = fingerprint(B)
    assert dropped == (Dropped(f"backend b, {mark[:16]}", f"not one of its pins; to trust it add {mark}"),)


def test_a_pin_is_no_backend() -> None:
    """A root that nobody shows is not trusted for being pinned."""
    assert vouched(shown(B), TrustPolicy(pins={"b": marks(A)}), NOW)[0] == ()


def test_distrust_of_what_a_backend_shows() -> None:
    """It is said, and it is not remembered."""
    roots, dropped = vouched(shown(A, B), TrustPolicy(HOUR, distrust=marks(B)), NOW)
    assert [root.certificate for root in roots] == [A]
    assert dropped == (Dropped(f"backend b, {fingerprint(B)[:16]}", "trust.distrust names it"),)


def test_a_backend_that_shows_what_may_be_no_anchor() -> None:
    """The others of its roots stay."""
    bad = anchors.not_a_ca()
    roots, (dropped,) = vouched(shown(bad, A), TrustPolicy(), NOW)
    assert [root.certificate for root in roots] == [A]
    assert str(dropped).startswith(f"backend b, {fingerprint(bad)[:16]}: it is not a CA")


def test_all_sources() -> None:
    """Backends, memory, a rotation and files, each root once."""
    memory = TrustRecord({fingerprint(B): KnownRoot(B, NOW + HOUR)}, Rotation("r", "b", Phase.TRUSTING, (A,), NOW, C))
    composed = compose([KnownRoot(A, NOW)], memory, (A, D), TrustPolicy(), NOW)
    assert composed.bundle == TrustBundle.of((A, B, C, D))
    assert composed.dropped == ()


@pytest.mark.parametrize("source", ["backend", "memory", "rotation", "extra"])
def test_distrust_is_the_last_word(source: str) -> None:
    """Whoever vouches."""
    memory = TrustRecord(
        {fingerprint(B): KnownRoot(B, NOW + HOUR)} if source == "memory" else {},
        Rotation("r", "b", Phase.TRUSTING, (B,), NOW, C) if source == "rotation" else None,
    )
    roots = [KnownRoot(A, NOW)] + ([KnownRoot(B, NOW)] if source == "backend" else [])
    extras = (B,) if source == "extra" else ()
    assert B in compose(roots, memory, extras, TrustPolicy(), NOW).bundle.roots
    assert B not in compose(roots, memory, extras, TrustPolicy(distrust=marks(B)), NOW).bundle.roots


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.ABORTED])
def test_a_rotation_that_is_over_holds_nothing_against_a_backend(phase: Phase) -> None:
    """A CA restored from a backup signs again: its root is what it shows."""
    memory = TrustRecord({}, Rotation("r", "b", phase, (A,), NOW, B))
    assert set(compose([KnownRoot(A, NOW)], memory, (), TrustPolicy(), NOW).bundle.roots) == {A}
    assert set(compose([KnownRoot(B, NOW)], memory, (), TrustPolicy(), NOW).bundle.roots) == {B}


def test_what_has_ended_meanwhile() -> None:
    """Memory and files are judged anew each time."""
    late = A.not_valid_after_utc + SECOND
    memory = TrustRecord({fingerprint(A): KnownRoot(A, late + HOUR)})
    composed = compose((), memory, (B,), TrustPolicy(), late)
    assert composed.bundle.roots == ()
    assert {dropped.what for dropped in composed.dropped} == {fingerprint(A)[:16], fingerprint(B)[:16]}
    assert compose((), NOBODY, (), TrustPolicy(), NOW).bundle.roots == ()
