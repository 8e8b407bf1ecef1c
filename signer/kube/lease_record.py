"""What a Lease says, how long it binds whoever looks at it, and what to do about it. Pure.

The rules are those of client-go (k8s.io/client-go/tools/leaderelection/leaderelection.go). The times in a record are
another machine's, so they are never compared with ours: a record binds for its duration from the moment that we first
saw it as it is.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from math import ceil
from typing import Any, Self

Manifest = dict[str, Any]
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. Two are equal where nobody has written it in between.

    Attributes:
        version: The object's resourceVersion. Any write counts as a renewal, somebody's label too: the times alone come
            back where a wall clock stands still or is set back, and binding for too long does no harm.
        uid: The object's; another one means that it was deleted and made again.
        holder: Who leads; empty where nobody does.
        duration: Seconds that it binds others.
        transitions: How often it has changed hands.
        acquired: The holder's wall clock when it took it, as written.
        renewed: The holder's wall clock at its last renewal, as written. A mark, not a time.
        manifest: The object, which an update must send back whole, its resourceVersion included.
    """

    version: str
    uid: str
    holder: str
    duration: float
    transitions: int
    acquired: str
    renewed: str
    manifest: Manifest = field(compare=False, repr=False)

    @classmethod
    def read(cls, manifest: Manifest, duration: float) -> Self:
        """Read an object of the API server; one without a spec is held by nobody.

        Args:
            manifest: The object.
            duration: Seconds, for a record that names none.

        Raises:
            ValueError: It is no Lease.
        """
        metadata, spec = manifest.get("metadata"), manifest.get("spec") or {}
        if not isinstance(metadata, dict) or not isinstance(spec, dict) or not metadata.get("resourceVersion"):
            raise ValueError("the answer is not a Lease")
        holder = str(spec.get("holderIdentity") or "")
        return cls(
            version=str(metadata["resourceVersion"]),
            uid=str(metadata.get("uid") or ""),
            holder=holder,
            # That of a released one tells nothing of whoever takes it unseen.
            duration=(_number(spec, "leaseDurationSeconds") if holder else 0) or duration,
            transitions=_number(spec, "leaseTransitions"),
            acquired=str(spec.get("acquireTime") or ""),
            renewed=str(spec.get("renewTime") or ""),
            manifest=manifest,
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """A record and since when it has been as it is.

    Attributes:
        since: Seconds of our monotonic clock, read after the answer that showed it first.
        gone: The object has been deleted, which is a change too. Whoever held it then, perhaps somebody whom we never
            saw, may not have noticed yet, so it binds all the same.
    """

    record: LeaseRecord
    since: float
    gone: bool = False

    @property
    def expires(self) -> float:
        """Seconds of our monotonic clock."""
        return self.since + self.record.duration


class Move(Enum):
    """What to do next."""

    CREATE = "create"
    RENEW = "renew"
    TAKE = "take"
    FOLLOW = "follow"


def observe(seen: Seen | None, record: LeaseRecord | None, now: float) -> Seen | None:
    """Note what is there now, None where there is no Lease."""
    if record is None:
        return seen if seen is None or seen.gone else replace(seen, since=now, gone=True)
    if seen is not None and seen.record == record and not seen.gone:
        return Seen(record, seen.since)
    return Seen(record, now)


def decide(seen: Seen | None, identity: str, leads: bool, now: float) -> Move:
    """Decide upon what was seen last.

    Args:
        seen: None where there has never been a Lease.
        identity: Our own.
        leads: Whether we do, at ``now``.
        now: Seconds of our monotonic clock.
    """
    if seen is None:
        return Move.CREATE
    free = leads if seen.gone else seen.record.holder in ("", identity)
    if not free and now < seen.expires:
        return Move.FOLLOW
    if seen.gone:
        return Move.CREATE
    return Move.RENEW if seen.record.holder == identity else Move.TAKE


def claim(seen: Seen | None, identity: str, duration: float, now: datetime) -> Manifest:
    """The object that has us lead for ``duration`` seconds; the API has whole seconds, and longer is safe.

    A Lease made again goes on with the number of the old one, so that a term does not come back.
    """
    ours = seen is not None and seen.record.holder == identity
    transitions = 0 if seen is None else seen.record.transitions + (not ours)
    renewed = _other_than(seen, now)
    spec = {
        "holderIdentity": identity,
        "leaseDurationSeconds": ceil(duration),
        "acquireTime": (seen.record.acquired if seen and ours else "") or renewed,
        "renewTime": renewed,
        "leaseTransitions": transitions,
    }
    return _with(seen, spec)


def release(seen: Seen, now: datetime) -> Manifest:
    """The object that lets the next one lead at once, as client-go's ReleaseOnCancel has it."""
    moment = _other_than(seen, now)
    spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": moment, "renewTime": moment}
    return _with(seen, {**spec, "leaseTransitions": seen.record.transitions})


def micro_time(moment: datetime) -> str:
    """A time as Kubernetes writes a MicroTime (apimachinery, meta/v1/micro_time.go)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _with(seen: Seen | None, spec: Manifest) -> Manifest:
    """Fields that are not ours stay; an object that is gone does not come back with its version."""
    if seen is None or seen.gone:
        return {"spec": spec}
    return {**seen.record.manifest, "spec": {**(seen.record.manifest.get("spec") or {}), **spec}}


def _other_than(seen: Seen | None, now: datetime) -> str:
    """A wall clock that stands still would write the same again, which the API server takes for no write at all."""
    written = micro_time(now)
    return written if seen is None or written != seen.record.renewed else micro_time(now + _TICK)


def _number(spec: Manifest, key: str) -> int:
    value = spec.get(key)
    return value if isinstance(value, int) and value > 0 else 0
