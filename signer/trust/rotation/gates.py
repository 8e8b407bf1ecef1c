"""What a rotation waits for before its next step. Each gate looks at one thing; all of them must be open.

Source of the times: clients learn of roots from their answers only (istio ``secretcache.go``, ztunnel ``manager.rs``),
so a root is known to all of them one whole client interval after all answers have begun to carry it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509

from signer.core.chain import fingerprint
from signer.core.parsing import UNPARSABLE
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import TrustRecord


@dataclass(frozen=True, slots=True)
class GateView:
    """What a gate says.

    Attributes:
        open: Whether the next step may be taken.
        waits_for: What it waits for, for people; empty where it is open.
        until: When it will be, UTC, where that is known.
    """

    open: bool
    waits_for: str = ""
    until: datetime | None = None


OPEN = GateView(True)


class Gate(Protocol):
    """Looks at the world for one rotation that waits. Evidence from live identities would be another one of these."""

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """Tell whether the next step may be taken at ``now`` (UTC)."""
        ...


@dataclass(frozen=True, slots=True)
class Waits:
    """How long things take.

    Attributes:
        client_interval: The longest time between two answers to one client.
        settle: Until all replicas have noticed a change.
        longest_life: Of a leaf that the old issuer may have signed last, its intermediates' lifetime included.
        distributed: Whether the leader says since when every namespace has held a root.
    """

    client_interval: timedelta
    settle: timedelta
    longest_life: timedelta
    distributed: bool


@dataclass(frozen=True, slots=True)
class TimeGate:
    """Time enough has gone by."""

    waits: Waits

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """See ``Gate``."""
        waits = self.waits
        if rotation.phase is Phase.SIGNING:
            end = rotation.since + waits.settle + waits.longest_life
            return _past(end, now, "the last leaves of the old root to end")
        begun = self._carried_since(rotation, record)
        if begun is None:
            return GateView(False, "the leader to have written the new root to every namespace")
        return _past(begun + self.waits.client_interval, now, "every client to have had an answer with the new root")

    def _carried_since(self, rotation: Rotation, record: TrustRecord) -> datetime | None:
        """Since when all answers have carried the new root."""
        settled = rotation.since + self.waits.settle
        if not self.waits.distributed:
            return settled
        known = record.roots.get(fingerprint(rotation.new)) if rotation.new is not None else None
        return None if known is None or known.everywhere is None else max(settled, known.everywhere)


def _past(moment: datetime, now: datetime, what: str) -> GateView:
    return OPEN if now >= moment else GateView(False, what, moment)


@dataclass(frozen=True, slots=True)
class NamespaceGate:
    """Every namespace holds the new root, seen with our own eyes.

    Attributes:
        lacking: Lists the namespaces that do not hold a root of this fingerprint.
    """

    lacking: Callable[[str], Awaitable[Sequence[str]]]

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """See ``Gate``. Nobody is asked where the old root is the one that matters: it was there all the time."""
        if rotation.phase is not Phase.TRUSTING or rotation.new is None:
            return OPEN
        lacking = await self.lacking(fingerprint(rotation.new))
        if not lacking:
            return OPEN
        shown = ", ".join(sorted(lacking)[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        return GateView(False, f"the new root in {len(lacking)} namespace(s): {shown}")


@dataclass(frozen=True, slots=True)
class PolicyGate:
    """The operator's own word lets the new root in: without the rotation it would be trusted by nobody.

    Attributes:
        backend: For the message.
        pins: The only roots that the backend may vouch for; None means any.
        distrust: Roots that nobody is to trust.
    """

    backend: str
    pins: frozenset[str] | None
    distrust: frozenset[str]

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """See ``Gate``."""
        if rotation.new is None:
            return OPEN
        mark = fingerprint(rotation.new)
        if mark in self.distrust:
            return GateView(False, f"trust.distrust to name {mark} no longer; or abort")
        if self.pins is not None and mark not in self.pins:
            return GateView(False, f"backends.{self.backend}.pins to name the new root {mark}, on all signers")
        return OPEN


@dataclass(frozen=True, slots=True)
class ServingGate:
    """The signer's own certificate leads to the new root, where it comes from files: nobody here can renew it.

    Attributes:
        chain: Reads it as it is now.
    """

    chain: Callable[[], Awaitable[Sequence[x509.Certificate]]]

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """See ``Gate``."""
        if rotation.phase is not Phase.SIGNING:
            return OPEN
        chain = await self.chain()
        if any(_issued(certificate, root) for certificate in chain for root in rotation.old):
            return GateView(False, "serving.certificate_file to lead to the new root: replace it and its key")
        return OPEN


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except UNPARSABLE:
        return False
    return True


@dataclass(frozen=True, slots=True)
class AllGates:
    """Open where all are; the first that is not speaks."""

    gates: tuple[Gate, ...]

    async def look(self, rotation: Rotation, record: TrustRecord, now: datetime) -> GateView:
        """See ``Gate``."""
        for gate in self.gates:
            view = await gate.look(rotation, record, now)
            if not view.open:
                return view
        return OPEN
