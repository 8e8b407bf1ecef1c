"""Quotas on callers: how many certificates one identity, one node and one namespace may have.

They are there for what goes wrong, not for what is normal: a workload that restarts in a loop, or a stolen token, must
not use up a backend's rate for everybody. Each replica counts for itself, and forgets when it restarts.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TypeAlias

from signer.core.errors import QuotaExceeded
from signer.core.ports import Clock
from signer.core.types import Grant
from signer.issue.rate import TokenBucket

Key: TypeAlias = tuple[str, ...]

MAX_BUCKETS = 50_000
# So many of the longest unused are looked at for one to drop: a bound on the work of one request.
LOOKED_AT = 64

RENEWALS = 2.0
"""Certificates of one pod in one lifetime: agents renew at half of it at the latest."""
MIN_RATE, MIN_BURST = 1.0, 100.0
"""Certificates a second, and at once: with lifetimes of a day the mean is far less, and rollouts are no mean."""

PODS: dict[str, int] = {
    # A service account with more replicas than this is rare, and the "default" account of a namespace is shared.
    "identity": 1000,
    # Kubernetes is built for 110 pods a node, and the large cloud providers' settings end at about 250.
    "node": 250,
    # Kubernetes is tested up to 3000 pods in one namespace; the rest is room for those that are replaced meanwhile.
    "namespace": 5000,
}
"""How many pods a mesh may have behind one of each kind, before a quota is in its way."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one bucket gives.

    Attributes:
        rate: Certificates a second, on average.
        burst: Certificates at once after a pause.
    """

    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """The quota of each identity, of each node and of each namespace; None means no limit."""

    identity: Quota | None = None
    node: Quota | None = None
    namespace: Quota | None = None


def expected(ttl: timedelta, pods: int) -> Quota:
    """What so many pods need: all of them at once, as in a rollout, and then two renewals in each lifetime.

    Args:
        ttl: The lifetime that callers get by default, longer than zero.
        pods: How many there are at most.
    """
    return Quota(max(MIN_RATE, pods * RENEWALS / ttl.total_seconds()), max(MIN_BURST, float(pods)))


def _node(grant: Grant) -> Key | None:
    """The node of the caller's own pod; of one that acts for others (ztunnel), it is the others' node too."""
    pod = grant.caller.pod
    return (grant.caller.cluster, pod.node) if pod is not None and pod.node else None


KEYS: dict[str, Callable[[Grant], Key | None]] = {
    # Of all clusters: a workload that is spread over several has one identity.
    "identity": lambda grant: (str(grant.identity),),
    "node": _node,
    "namespace": lambda grant: (grant.caller.cluster, grant.identity.namespace),
}
"""What a grant counts for in each kind; None for nothing. Names of nodes and namespaces are one cluster's own."""


class Buckets:
    """The buckets of one kind, the longest unused first.

    Args:
        quota: What each gives.
        clock: Time.
        size: The most that are kept. Then one that is full again is dropped, for nothing is lost with it: the next of
            its key would be full as well. Only where none of the 64 longest unused is, the very longest unused goes.
    """

    def __init__(self, quota: Quota, clock: Clock, size: int = MAX_BUCKETS) -> None:
        self.quota = quota
        self._clock = clock
        self._size = size
        self._buckets: OrderedDict[Key, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: Key) -> TokenBucket:
        """Find the bucket of a key, or make it; it counts as used."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._make_room()
            bucket = self._buckets[key] = TokenBucket(self.quota.rate, self.quota.burst, self._clock)
        self._buckets.move_to_end(key)
        return bucket

    def _make_room(self) -> None:
        if len(self._buckets) < self._size:
            return
        oldest = list(islice(self._buckets.items(), LOOKED_AT))
        del self._buckets[next((key for key, bucket in oldest if bucket.full), oldest[0][0])]


class Quotas:
    """Counts what callers are given.

    Args:
        policy: How much.
        clock: Time.
        size: The most buckets of one kind.
    """

    def __init__(self, policy: QuotaPolicy, clock: Clock, size: int = MAX_BUCKETS) -> None:
        limits = {"identity": policy.identity, "node": policy.node, "namespace": policy.namespace}
        self._kinds = {kind: Buckets(quota, clock, size) for kind, quota in limits.items() if quota is not None}

    def take(self, grant: Grant) -> None:
        """Count one certificate: against all that the grant belongs to, or, where one has none left, against none.

        Raises:
            QuotaExceeded: One has none left; the reason names the first such.
        """
        found = [self._ready(kind, buckets, grant) for kind, buckets in self._kinds.items()]
        for bucket in found:
            if bucket is not None:
                bucket.take()

    @staticmethod
    def _ready(kind: str, buckets: Buckets, grant: Grant) -> TokenBucket | None:
        key = KEYS[kind](grant)
        if key is None:
            return None
        bucket, quota = buckets.of(key), buckets.quota
        if not bucket.ready:
            raise QuotaExceeded(
                f"quota: {kind} {'/'.join(key)[:320]!a} has used up {quota.rate:g} a second, {quota.burst:g} at once"
            )
        return bucket
