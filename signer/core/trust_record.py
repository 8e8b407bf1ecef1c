"""What all replicas remember of the roots that they trust: a value that merges, forgets in time, and goes into JSON.

Pure. Who vouches for a root says for how long, so that no replica and no restart forgets one that another has learnt
and whose leaves live.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from signer.core.chain import fingerprint, pem
from signer.core.parsing import UNPARSABLE
from signer.core.rotation import Phase, Rotation

VERSION = 1
MAX_ROOTS = 64
# A ConfigMap holds a MiB.
MAX_BYTES = 900 * 1024
STEP = timedelta(seconds=60)


_UNREADABLE: tuple[type[Exception], ...] = (KeyError, AttributeError, RecursionError, *UNPARSABLE)


class BadRecord(ValueError):
    """A text that is no record; the message says why."""


@dataclass(frozen=True, slots=True)
class KnownRoot:
    """A root that a backend has vouched for.

    Attributes:
        until: For how long at least, UTC.
        everywhere: Since when every namespace has held it, UTC; None while one may not.
    """

    certificate: x509.Certificate
    until: datetime
    everywhere: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """The roots by fingerprint, and the rotation under way or the last one."""

    roots: dict[str, KnownRoot] = field(default_factory=dict)
    rotation: Rotation | None = None

    def vouched(self, roots: Iterable[KnownRoot], step: timedelta = STEP) -> "TrustRecord":
        """Note what backends vouch for; what would prolong it by less than ``step`` is not noted, to save writes."""
        fresh = dict(self.roots)
        for root in roots:
            mark = fingerprint(root.certificate)
            known = fresh.get(mark)
            if known is None:
                fresh[mark] = root
            elif root.until - known.until >= step:
                fresh[mark] = replace(known, until=root.until)
        return self if fresh == self.roots else replace(self, roots=_newest(fresh))

    def published(self, marks: frozenset[str], now: datetime) -> "TrustRecord":
        """Note that every namespace holds the roots with these fingerprints, and may hold no others."""
        fresh = {mark: replace(k, everywhere=_since(mark, k, marks, now)) for mark, k in self.roots.items()}
        return self if fresh == self.roots else replace(self, roots=fresh)

    def pruned(self, now: datetime) -> "TrustRecord":
        """Forget what nobody vouches for any more, and what a rotation has removed."""
        held = frozenset(map(fingerprint, self.rotation.trusted if self.rotation else ()))
        kept = {
            mark: k for mark, k in self.roots.items() if mark not in self.forgotten and (mark in held or now < k.until)
        }
        return self if len(kept) == len(self.roots) else replace(self, roots=kept)

    def merged(self, other: "TrustRecord") -> "TrustRecord":
        """Know what either knows; of the rotation, and of what is published, what ``other`` knows."""
        fresh = dict(self.roots)
        for mark, known in other.roots.items():
            mine = fresh.get(mark)
            fresh[mark] = known if mine is None else replace(known, until=max(mine.until, known.until))
        return TrustRecord(_newest(fresh), other.rotation)

    def only(self, marks: frozenset[str]) -> "TrustRecord":
        """The part of it with these fingerprints; the rotation stays."""
        return replace(self, roots={mark: known for mark, known in self.roots.items() if mark in marks})

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """The roots to trust because of what is remembered; ``pruned`` first forgets what is over."""
        known = [root.certificate for root in self.roots.values()]
        return (*known, *(self.rotation.trusted if self.rotation else ()))

    @property
    def forgotten(self) -> frozenset[str]:
        """Fingerprints that a rotation has removed."""
        return self.rotation.forgotten if self.rotation else frozenset()


def _newest(roots: dict[str, KnownRoot]) -> dict[str, KnownRoot]:
    if len(roots) <= MAX_ROOTS:
        return roots
    # By fingerprint where the times are equal, so that all replicas forget the same ones.
    latest = sorted(roots.items(), key=lambda item: (item[1].until, item[0]))[-MAX_ROOTS:]
    return dict(sorted(latest))


def _since(mark: str, known: KnownRoot, marks: frozenset[str], now: datetime) -> datetime | None:
    if mark not in marks:
        return None
    return known.everywhere or now


def encode(record: TrustRecord) -> str:
    """Write a record as JSON, the same text for the same record."""
    roots = [
        {"pem": pem(k.certificate), "until": k.until.isoformat(), "everywhere": _text(k.everywhere)}
        for _, k in sorted(record.roots.items())
    ]
    return json.dumps({"version": VERSION, "roots": roots, "rotation": _encode_rotation(record.rotation)}, indent=1)


def _encode_rotation(rotation: Rotation | None) -> dict[str, Any] | None:
    if rotation is None:
        return None
    return {
        "id": rotation.id,
        "backend": rotation.backend,
        "phase": rotation.phase.value,
        "since": rotation.since.isoformat(),
        "old": [pem(c) for c in rotation.old],
        "new": pem(rotation.new) if rotation.new is not None else None,
        "handle": rotation.handle,
        "given": rotation.given,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def decode(text: str) -> TrustRecord:
    """Read what ``encode`` wrote.

    Raises:
        BadRecord: It is something else, or of a later version.
    """
    if len(text) > MAX_BYTES:
        raise BadRecord(f"longer than {MAX_BYTES} bytes")
    try:
        data = json.loads(text)
        if data["version"] != VERSION:
            raise BadRecord(f"version {data['version']!a:.20}; this program knows version {VERSION}")
        known = [_decode_root(item) for item in data["roots"]]
        return TrustRecord({fingerprint(k.certificate): k for k in known}, _decode_rotation(data["rotation"]))
    except BadRecord:
        raise
    except _UNREADABLE as error:
        raise BadRecord(f"it cannot be read ({type(error).__name__})") from None


def _decode_root(item: Any) -> KnownRoot:
    everywhere = item["everywhere"]
    certificate = x509.load_pem_x509_certificate(item["pem"].encode())
    return KnownRoot(certificate, _moment(item["until"]), None if everywhere is None else _moment(everywhere))


def _decode_rotation(item: Any) -> Rotation | None:
    if item is None:
        return None
    old = tuple(x509.load_pem_x509_certificate(text.encode()) for text in item["old"])
    new = x509.load_pem_x509_certificate(item["new"].encode()) if item["new"] is not None else None
    phase, since = Phase(item["phase"]), _moment(item["since"])
    named, given = _name(item["handle"]), item["given"] is True
    return Rotation(_name(item["id"]), _name(item["backend"]), phase, old, since, new, named, given)


def _name(text: Any) -> str:
    if not isinstance(text, str):
        raise BadRecord("a name that is no text")
    return text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise BadRecord("a time without its zone")
    return moment
