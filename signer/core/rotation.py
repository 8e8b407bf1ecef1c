"""A root rotation as a value: which phase it is in, and whom it has everybody trust meanwhile. Pure.

    idle -> preparing -> trusting -> switching -> signing -> retiring -> done
                 |           |
                 +-----------+--> aborting -> aborted

``trusting`` and ``signing`` wait for the world: until everybody trusts the new root, and until no leaf of the old one
lives. The other phases that end in -ing are intents: they are written down before anything is done at the CA and left
after it, so that whoever resumes a rotation that died does the same thing again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from cryptography import x509

from signer.core.chain import fingerprint


class Phase(Enum):
    """Where a rotation stands."""

    PREPARING = "preparing"
    TRUSTING = "trusting"
    SWITCHING = "switching"
    SIGNING = "signing"
    RETIRING = "retiring"
    DONE = "done"
    ABORTING = "aborting"
    ABORTED = "aborted"


class WrongPhase(Exception):
    """The step is not legal now; the message says why and what is."""


# Phase -> the intent that ``advance`` writes down, and what it becomes once the CA has done it.
INTENTS: dict[Phase, Phase] = {Phase.TRUSTING: Phase.SWITCHING, Phase.SIGNING: Phase.RETIRING}
RESULTS: dict[Phase, Phase] = {
    Phase.PREPARING: Phase.TRUSTING,
    Phase.SWITCHING: Phase.SIGNING,
    Phase.RETIRING: Phase.DONE,
    Phase.ABORTING: Phase.ABORTED,
}
OVER = frozenset({Phase.DONE, Phase.ABORTED})
# From here on leaves of the new root may live, and taking it away would break them.
ABORTABLE = frozenset({Phase.PREPARING, Phase.TRUSTING, Phase.ABORTING})
_NEW_TRUSTED = frozenset({Phase.TRUSTING, Phase.SWITCHING, Phase.SIGNING, Phase.RETIRING})


@dataclass(frozen=True, slots=True)
class Rotation:
    """One rotation of one backend's root.

    Attributes:
        id: Names what it makes at the CA, so that a step done twice finds what it made.
        backend: Whose root it is.
        old: The roots that are to go.
        new: The one that comes; None until the CA has made it.
        handle: What the operator named for the CA to sign with next, such as an issuer; empty where the CA makes it.
        given: Whether the operator brings what comes, as files: a step that is taken up again makes nothing instead.
        since: When the phase was entered, UTC.
    """

    id: str
    backend: str
    phase: Phase
    old: tuple[x509.Certificate, ...]
    since: datetime
    new: x509.Certificate | None = None
    handle: str = ""
    given: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.phase in OVER

    @property
    def is_intent(self) -> bool:
        """Whether the CA may have done something that is not written down yet."""
        return self.phase in RESULTS

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """The roots that everybody must trust because of it, whatever the backends say; none once it is over."""
        if self.over:
            return ()
        return (*self.old, self.new) if self.new is not None and self.phase in _NEW_TRUSTED else self.old

    @property
    def forgotten(self) -> frozenset[str]:
        """Fingerprints of the roots that nobody is to remember after it. A backend that shows one vouches for it all
        the same, as after a restore from a backup."""
        old = frozenset(map(fingerprint, self.old))
        new = frozenset({fingerprint(self.new)} if self.new is not None else ())
        # A CA that has made nothing new gives one root for both.
        if self.phase is Phase.DONE:
            return old - new
        return new - old if self.phase is Phase.ABORTED else frozenset()

    def intend(self, now: datetime) -> "Rotation":
        """Go from waiting to the next intent; whoever calls it has made sure that the gate is open.

        Raises:
            WrongPhase: It is over, or an intent already.
        """
        if self.phase not in INTENTS:
            raise WrongPhase(f"rotation {self.id} is {self.phase.value}; there is nothing to wait for")
        return replace(self, phase=INTENTS[self.phase], since=now)

    def give_up(self, now: datetime) -> "Rotation":
        """Go to ``aborting``.

        Raises:
            WrongPhase: The new issuer may have signed.
        """
        if self.phase not in ABORTABLE:
            raise WrongPhase(
                f"rotation {self.id} is {self.phase.value}: the new issuer may have signed, and to abort would break "
                "its leaves; go on with advance, then rotate back if you must"
            )
        return self if self.phase is Phase.ABORTING else replace(self, phase=Phase.ABORTING, since=now)

    def done(self, now: datetime, new: x509.Certificate | None = None) -> "Rotation":
        """Go from an intent to its result; ``new`` is the root that the CA has made.

        Raises:
            WrongPhase: It is no intent.
            ValueError: Everybody is to trust the new root, and there is none.
        """
        if self.phase not in RESULTS:
            raise WrongPhase(f"rotation {self.id} is {self.phase.value}, which is no intent")
        if self.phase is Phase.PREPARING and new is None and self.new is None:
            raise ValueError(f"rotation {self.id}: the CA has made no new root")
        return replace(self, phase=RESULTS[self.phase], since=now, new=new or self.new)
