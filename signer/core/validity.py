"""How long a certificate lives: default, maximum, jitter, backdate, and never past any CA of its chain.

Backdate scales with the lifetime because ztunnel and agentgateway renew at ``notBefore + (notAfter - notBefore) / 2``
(ztunnel: tls/certificate.rs): a fixed 2 minutes on a 60 s certificate puts that moment in the past and makes them
fetch in a loop.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from signer.core.errors import RefusedLocally, ValidityRejected

MAX_BACKDATE = timedelta(seconds=60)
BACKDATE_DIVISOR = 10
# A CA in its last seconds would hand out certificates that every client renews at once, without end.
MIN_REMAINING = timedelta(seconds=10)

Window: TypeAlias = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class ValidityPolicy:
    """What a profile says of lifetimes.

    Attributes:
        default_ttl: Used where the caller asks for nothing (zero or less).
        max_ttl: The longest lifetime.
        over_max: What happens to a longer wish: shortened to ``max_ttl``, or refused.
        jitter: The largest part of the lifetime, 0 to 1, that chance may take off it; it never adds.
    """

    default_ttl: timedelta
    max_ttl: timedelta
    over_max: Literal["clamp", "reject"] = "clamp"
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Validity:
    """The window to ask a backend for, in whole seconds UTC, and the seconds that the caller had asked for."""

    not_before: datetime
    not_after: datetime
    requested: int

    @property
    def lifetime(self) -> timedelta:
        """The whole span, backdate included."""
        return self.not_after - self.not_before


def decide(requested: int, policy: ValidityPolicy, now: datetime, issuer: Window | None, chance: float) -> Validity:
    """Fix the window of one certificate.

    Args:
        requested: The caller's wish in seconds; zero or less means none.
        policy: The profile's lifetimes.
        now: The time, UTC.
        issuer: The window of the issuing chain, where it is known: the leaf stays inside it.
        chance: A random number in [0, 1) for the jitter.

    Raises:
        ValidityRejected: The wish is over the maximum and the profile rejects.
        RefusedLocally: The issuer ends so soon that a client would renew in a loop.
    """
    now = now.replace(microsecond=0)
    ttl = _jittered(_wished(requested, policy), policy.jitter, chance)
    not_after = now + ttl if issuer is None else min(now + ttl, issuer[1].replace(microsecond=0))
    if not_after - now < min(ttl, MIN_REMAINING):
        raise RefusedLocally(f"the issuing CA ends at {not_after.isoformat()}, too soon to sign a certificate")
    not_before = now - backdate_for(not_after - now)
    # A CA made a second ago must not seem younger than its leaves; it never pushes the start past now.
    if issuer is not None:
        not_before = min(max(not_before, issuer[0]), now)
    return Validity(not_before, not_after, requested)


def _wished(requested: int, policy: ValidityPolicy) -> timedelta:
    if requested <= 0:
        return min(policy.default_ttl, policy.max_ttl)
    # Compared as whole seconds: 2^63-1 of them is more than a timedelta can hold.
    if requested > policy.max_ttl.total_seconds():
        if policy.over_max == "reject":
            raise ValidityRejected(f"{requested} s were asked for, {policy.max_ttl.total_seconds():.0f} s are allowed")
        return policy.max_ttl
    return timedelta(seconds=requested)


def _jittered(ttl: timedelta, jitter: float, chance: float) -> timedelta:
    seconds = ttl.total_seconds() * (1 - jitter * chance)
    return timedelta(seconds=max(1, int(seconds)))


def backdate_for(lifetime: timedelta) -> timedelta:
    """How far before now a certificate starts: a tenth of its life, 60 s at most, in whole seconds."""
    return min(MAX_BACKDATE, timedelta(seconds=lifetime // timedelta(seconds=1) // BACKDATE_DIVISOR))


def renew_at(window: Window, grace_ratio: float) -> datetime:
    """When to renew a certificate of one's own: ``grace_ratio`` of its life before its end (istio: secretcache.go)."""
    return window[1] - (window[1] - window[0]) * grace_ratio


# Of the lifetime: enough that replicas do not act as one, too little to matter to anybody.
RENEWAL_JITTER = 0.01


def renewal_due(window: Window, grace_ratio: float, chance: float) -> datetime:
    """When to renew, a little earlier by ``chance``, a random number in [0, 1), so that replicas spread."""
    return renew_at(window, grace_ratio) - (window[1] - window[0]) * RENEWAL_JITTER * chance
