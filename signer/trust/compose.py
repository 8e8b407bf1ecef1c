"""The trust bundle as a function of what is known: backends, memory, extra roots, and the operator's word. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509

from signer.core.anchors import Dropped, Screened, screen
from signer.core.chain import fingerprint
from signer.core.trust_record import STEP, KnownRoot, TrustRecord
from signer.core.types import IssuerInfo


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What the operator says of roots.

    Attributes:
        retention: How long a root that a signer has shown of itself stays after it has shown it last.
        grace: The same for roots from files. Replicas do not read a changed file at the same moment, and must not
            take a root from each other's answers while one of them still signs under it.
        distrust: Fingerprints (SHA-256, lower-case hexadecimal) of roots that are not trusted whoever vouches.
        pins: Backend -> the fingerprints of the only roots that it may vouch for. A backend without an entry may
            vouch for any.
    """

    retention: timedelta = timedelta(0)
    grace: timedelta = timedelta(0)
    distrust: frozenset[str] = frozenset()
    pins: Mapping[str, frozenset[str]] = field(default_factory=dict)


def vouched(
    shown: Mapping[str, IssuerInfo], policy: TrustPolicy, now: datetime
) -> tuple[tuple[KnownRoot, ...], tuple[Dropped, ...]]:
    """Keep of what backends show (by backend) what they may vouch for; tell what was dropped and why."""
    kept: list[KnownRoot] = []
    dropped: list[Dropped] = []
    for name, info in shown.items():
        pins = policy.pins.get(name)
        until = _until(policy.grace if info.configured else policy.retention, now)
        screened = screen(info.roots, now)
        dropped += [Dropped(f"backend {name}, {d.what}", d.why) for d in screened.dropped]
        for root in screened.bundle.roots:
            mark = fingerprint(root)
            if pins is not None and mark not in pins:
                dropped.append(Dropped(f"backend {name}, {mark[:16]}", f"not one of its pins; to trust it add {mark}"))
            elif mark in policy.distrust:
                dropped.append(Dropped(f"backend {name}, {mark[:16]}", "trust.distrust names it"))
            else:
                kept.append(KnownRoot(root, until))
    return tuple(kept), tuple(dropped)


def _until(span: timedelta, now: datetime) -> datetime:
    """A record notes no step shorter than ``STEP``, so without that much more it would forget too early."""
    return now + span + STEP if span else now


def compose(
    roots: Iterable[KnownRoot],
    record: TrustRecord,
    extras: tuple[x509.Certificate, ...],
    policy: TrustPolicy,
    now: datetime,
) -> Screened:
    """Put the bundle together.

    Args:
        roots: What ``vouched`` has kept.
        record: What all replicas remember.
        extras: Roots for everybody that no backend shows.
        policy: The operator's word; it is the last.
        now: The time, UTC.
    """
    everything = (*(root.certificate for root in roots), *record.trusted, *extras)
    return screen([c for c in everything if fingerprint(c) not in policy.distrust], now)
