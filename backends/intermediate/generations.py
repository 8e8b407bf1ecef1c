"""Which signing certificate is in use, which one comes next, and whose roots are still needed. Pure.

A certificate under roots that are known already signs at once: nobody has to learn anything. One under a new root
waits, its root in every answer meanwhile, until proxies have had time to learn it. A certificate that was replaced
signs no more, but its leaves live, and none of them longer than itself: until then its roots stay.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509

from backends.held.ca import HeldCa
from backends.held.leaf import Template
from signer.core.chain import TrustBundle
from signer.core.types import IssuerInfo

MAX_RETIRED = 8


@dataclass(frozen=True, slots=True)
class Generation:
    """One signing certificate, ready to sign.

    Attributes:
        due: When to have its successor minted, UTC.
        takes_over: From when it may sign, where it comes under a new root.
    """

    ca: HeldCa
    template: Template
    due: datetime
    takes_over: datetime


@dataclass(frozen=True, slots=True)
class Generations:
    """All that matter now. Each change gives a new one."""

    current: Generation | None = None
    waiting: Generation | None = None
    retired: tuple[HeldCa, ...] = ()

    @property
    def newest(self) -> Generation | None:
        """The one whose age decides about the next renewal."""
        return self.waiting or self.current

    def arrived(self, ca: HeldCa, due: datetime, now: datetime, delay: timedelta) -> "Generations":
        """Take in a new certificate; it signs at once where its roots are known or nothing else can sign."""
        known = self._known(now)
        fresh = Generation(ca, Template.of(ca), due, now if known.covers(ca.bundle) else now + delay)
        return replace(self, waiting=fresh).at(now)

    def at(self, now: datetime) -> "Generations":
        """Let time do its part: the waiting one takes over, and what has ended is forgotten."""
        result = replace(self, retired=tuple(ca for ca in self.retired if now < ca.window[1])[-MAX_RETIRED:])
        waiting, current = self.waiting, self.current
        if waiting is None or (current is not None and now < waiting.takes_over and now < current.ca.window[1]):
            return result
        retired = result.retired if current is None or now >= current.ca.window[1] else (*result.retired, current.ca)
        return Generations(waiting, None, retired[-MAX_RETIRED:])

    def info(self) -> IssuerInfo | None:
        """Describe the one that signs, with everybody's roots; None where there is none."""
        if self.current is None:
            return None
        ca = self.current.ca
        return IssuerInfo(TrustBundle.of(self._roots()).roots, ca.chain, ca.window)

    def _known(self, now: datetime) -> TrustBundle:
        return TrustBundle.of(self.at(now)._roots() if self.current is not None else ())

    def _roots(self) -> Iterable[x509.Certificate]:
        """What the newest one came with, and of the others what their leaves need: a root that was taken out of the
        upstream's files must not live on with them."""
        newest, current = self.newest, self.current
        if newest is not None:
            yield from newest.ca.bundle.roots
        others = [current.ca] if current is not None and current is not newest else []
        for ca in (*others, *self.retired):
            yield from ca.anchors
