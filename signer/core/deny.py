"""Whom the operator gives no more certificates: identities, pods, keys and serials, each compared exactly.

A list is taken whole or not at all: half of it would let somebody through of whom the operator thinks that he is out.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from signer.core import keys
from signer.core.identity import SpiffeId

MAX_ENTRIES = 100_000
MAX_REASON = 200
MAX_FAULTS = 10

_POD_UID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")
_KEY = re.compile(r"sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})")
_SERIAL = re.compile(r"[0-9a-f]+|[0-9a-f]{2}(?::[0-9a-f]{2})+")
_MAX_SERIAL_TEXT = 128
# RFC 5280, section 4.1.2.2: 20 octets.
_MAX_SERIAL_BITS = 160


class BadDenyList(ValueError):
    """The list cannot be used; the message says which entry, counted from 1, and what is wrong. A line for each."""


def key_digest(key: PublicKeyTypes) -> str:
    """Name a public key: SHA-256 of its DER, hexadecimal. Of the library's own encoding, so that a point written in
    another form is no other key."""
    return sha256(keys.spki(key)).hexdigest()


def _pod_uid(text: str) -> str:
    if not _POD_UID.fullmatch(text):
        raise ValueError(f"write a pod's metadata.uid as Kubernetes does, in lower case; this is {text[:80]!a}")
    return text


def _key(text: str) -> str:
    found = _KEY.fullmatch(text.lower())
    if not found:
        raise ValueError(f"write sha256: and the 64 hexadecimal digits of the public key's DER; this is {text[:80]!a}")
    return found[1].replace(":", "")


def _serial(text: str) -> int:
    found = _SERIAL.fullmatch(text.lower()) if len(text) <= _MAX_SERIAL_TEXT else None
    number = int(found[0].replace(":", ""), 16) if found else 0
    if not 0 < number < 1 << _MAX_SERIAL_BITS:
        raise ValueError(f"write a certificate's serial in hexadecimal, 20 bytes at most; this is {text[:80]!a}")
    return number


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of entry is read, and shown to people."""

    read: Callable[[str], Hashable]
    show: Callable[[Any], str] = str


KINDS: dict[str, _Kind] = {
    "identity": _Kind(SpiffeId.parse),
    "pod_uid": _Kind(_pod_uid),
    "key": _Kind(_key, lambda digest: f"sha256:{digest}"),
    "serial": _Kind(_serial, lambda number: f"{number:x}"),
}
_KEYS = (*KINDS, "reason", "until")


@dataclass(frozen=True, slots=True)
class Denial:
    """Why, and until when (UTC); None means for good."""

    reason: str = ""
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it still counts."""
        return self.until is None or now < self.until

    def outlasts(self, other: "Denial") -> bool:
        """Whether it ends after another one of the same."""
        return other.until is not None and (self.until is None or self.until > other.until)


def _none() -> dict[str, dict[Hashable, Denial]]:
    return {kind: {} for kind in KINDS}


@dataclass(frozen=True, slots=True)
class DenyList:
    """A list that was read whole.

    Attributes:
        entries: For each of ``KINDS`` what is denied: ``SpiffeId``, a pod's UID, ``key_digest``, a serial's number.
    """

    entries: Mapping[str, Mapping[Hashable, Denial]] = field(default_factory=_none)

    @classmethod
    def parse(cls, data: object) -> Self:
        """Read a decoded document: a list of mappings, each with exactly one of ``KINDS``.

        Raises:
            BadDenyList: With the first ``MAX_FAULTS`` faults.
        """
        if not isinstance(data, list):
            raise BadDenyList("the deny list must be a list of entries; one without entries is written []")
        if len(data) > MAX_ENTRIES:
            raise BadDenyList(f"there are {len(data)} entries; {MAX_ENTRIES} are allowed")
        entries, faults = _none(), list[str]()
        for number, entry in enumerate(data, start=1):
            try:
                kind, value, denial = _entry(entry)
            except ValueError as error:
                faults.append(f"entry no. {number}: {error}")
                continue
            known = entries[kind].get(value)
            if known is None or denial.outlasts(known):
                entries[kind][value] = denial
        if faults:
            raise BadDenyList("\n".join(_first(faults)))
        return cls(entries)

    def __len__(self) -> int:
        return sum(map(len, self.entries.values()))

    def past(self, now: datetime) -> int:
        """How many entries count no more."""
        return sum(not denial.holds(now) for table in self.entries.values() for denial in table.values())

    def fault(
        self,
        now: datetime,
        *,
        identities: Iterable[SpiffeId] = (),
        pod_uid: str | None = None,
        key: str | None = None,
        serial: int | None = None,
    ) -> str | None:
        """Say, for operators only, why a request is denied; None if it is not.

        Args:
            now: Entries whose ``until`` is not after it count no more.
            identities: Of the caller, and the granted one where the caller acts for another.
            pod_uid: Of the caller's pod.
            key: ``key_digest`` of the CSR's key.
            serial: Of a certificate that the caller shows.
        """
        asked = [("identity", identity) for identity in identities]
        for kind, value in (*asked, ("pod_uid", pod_uid), ("key", key), ("serial", serial)):
            denial = self.entries[kind].get(value)
            if denial is not None and denial.holds(now):
                return f"denied: {kind} {KINDS[kind].show(value)}" + (f" ({denial.reason})" if denial.reason else "")
        return None


def _first(faults: list[str]) -> Iterator[str]:
    yield from faults[:MAX_FAULTS]
    if len(faults) > MAX_FAULTS:
        yield f"and {len(faults) - MAX_FAULTS} more"


def _entry(entry: object) -> tuple[str, Hashable, Denial]:
    if not isinstance(entry, dict):
        raise ValueError("write keys with values, such as {identity: spiffe://..., reason: ...}")
    for name in entry:
        if name not in _KEYS:
            raise ValueError(f"there is no key {str(name)[:80]!a}; there are {', '.join(_KEYS)}")
    given = [kind for kind in KINDS if kind in entry]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(KINDS)}; given are {', '.join(given) or 'none'}")
    (kind,) = given
    return kind, _read(kind, entry[kind], KINDS[kind].read), Denial(_reason(entry), _until(entry))


def _read(name: str, value: object, read: Callable[[str], Hashable]) -> Hashable:
    # Never quoted where it is no text: what YAML can build of aliases has no end.
    if not isinstance(value, str):
        raise ValueError(f"{name}: write a text; in quotes, where it looks like a number")
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _reason(entry: dict[Any, Any]) -> str:
    reason = entry.get("reason")
    if reason is None:
        return ""
    if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
        raise ValueError(f"reason: write a text on one line, {MAX_REASON} characters at most")
    return reason


def _until(entry: dict[Any, Any]) -> datetime | None:
    """YAML itself makes times of texts that look like one."""
    until = entry.get("until")
    if until is None:
        return None
    try:
        time = datetime.fromisoformat(until) if isinstance(until, str) else until
        if isinstance(time, datetime) and time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("until: write a time with its zone, such as 2026-12-01T00:00:00Z")
