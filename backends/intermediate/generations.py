"""Which signing certificate is in use, which one comes next, and whose roots are still needed. Pure.

A certificate under roots that are known already signs at once: nobody has to learn anything. One under a new root
waits, its root in every answer meanwhile, until proxies have had time to learn it; another one under that root that
comes meanwhile waits until the same moment. A certificate that was replaced signs no more, but its leaves live, and
none of them longer than itself: until then its roots stay.
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
        then = self.at(now)
        fresh = Generation(ca, Template.of(ca), due, then._known_from(ca.bundle, now, delay))
        return replace(then, waiting=fresh).at(now)

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

    def _known_from(self, wanted: TrustBundle, now: datetime, delay: timedelta) -> datetime:
        """From when proxies know these roots: those that only the waiting one has are still on their way."""
        current, waiting = self.current, self.waiting
        signing = [*(current.ca.bundle.roots if current else ()), *self._anchors(self.retired)]
        if current is not None and TrustBundle.of(signing).covers(wanted):
            return now
        if waiting is not None and TrustBundle.of((*signing, *waiting.ca.bundle.roots)).covers(wanted):
            return waiting.takes_over
        return now + delay

    def _roots(self) -> Iterable[x509.Certificate]:
        """What the newest one came with, and of the others what their leaves need: a root that was taken out of the
        upstream's files must not live on with them."""
        newest, current = self.newest, self.current
        if newest is not None:
            yield from newest.ca.bundle.roots
        others = [current.ca] if current is not None and current is not newest else []
        yield from self._anchors((*others, *self.retired))

    @staticmethod
    def _anchors(held: Iterable[HeldCa]) -> Iterable[x509.Certificate]:
        return (root for ca in held for root in ca.anchors)
