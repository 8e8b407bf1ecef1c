"""Quotas on callers: one of each kind cannot use up what is for all, and nothing is taken in part."""

from dataclasses import replace
from datetime import timedelta

import pytest

from signer.core.errors import Code, QuotaExceeded, meaning
from signer.core.identity import SpiffeId
from signer.core.types import Grant, PodRef
from signer.issue.quota import KEYS, PODS, Buckets, Quota, QuotaPolicy, Quotas, expected
from signer.issue.rate import TokenBucket
from tests.support.clock import DAY, HOUR, FakeClock
from tests.support.fakes import CALLER, GRANT

ONE, TWO, MANY = Quota(1.0, 1.0), Quota(1.0, 2.0), Quota(1.0, 100.0)


def _grant(namespace: str = "payments", account: str = "api", node: str | None = "node-0", cluster: str = "a") -> Grant:
    identity = SpiffeId(GRANT.identity.trust_domain, namespace, account)
    return Grant(identity, replace(CALLER, identity=identity, cluster=cluster, pod=PodRef("p", "u", node)))


def _taken(quotas: Quotas, grant: Grant) -> int:
    """How many it gets at once."""
    for count in range(1000):
        try:
            quotas.take(grant)
        except QuotaExceeded:
            return count
    raise AssertionError("no limit")


def test_a_bucket_tells_what_it_holds() -> None:
    """To look takes nothing."""
    clock = FakeClock()
    bucket = TokenBucket(0.5, 2.0, clock)
    assert (bucket.full, bucket.ready) == (True, True)
    assert bucket.take()
    assert (bucket.full, bucket.ready) == (False, True)
    assert bucket.take()
    assert (bucket.full, bucket.ready, bucket.take()) == (False, False, False)
    clock.advance(2.0)
    assert (bucket.full, bucket.ready) == (False, True)
    clock.advance(2.0)
    assert bucket.full


def test_no_policy_counts_nothing() -> None:
    quotas = Quotas(QuotaPolicy(), FakeClock())
    for _ in range(1000):
        quotas.take(GRANT)


OTHERS: dict[str, tuple[QuotaPolicy, Grant, Grant]] = {
    "identity": (QuotaPolicy(identity=TWO), _grant(node="x", cluster="b"), _grant(account="other")),
    "node": (QuotaPolicy(node=TWO), _grant(namespace="x", account="y"), _grant(node="node-1")),
    "node, cluster": (QuotaPolicy(node=TWO), _grant(namespace="x"), _grant(cluster="b")),
    "namespace": (QuotaPolicy(namespace=TWO), _grant(account="x", node="y"), _grant(namespace="other")),
    "namespace, cluster": (QuotaPolicy(namespace=TWO), _grant(account="x"), _grant(cluster="b")),
}


@pytest.mark.parametrize(("policy", "same", "other"), OTHERS.values(), ids=OTHERS)
def test_kinds(policy: QuotaPolicy, same: Grant, other: Grant) -> None:
    """Those of one kind share a bucket; others have their own; time fills it."""
    clock = FakeClock()
    quotas = Quotas(policy, clock)
    assert _taken(quotas, _grant()) == 2
    assert _taken(quotas, same) == 0
    assert _taken(quotas, other) == 2
    clock.advance(1.0)
    assert _taken(quotas, same) == 1


@pytest.mark.parametrize("pod", [None, PodRef("p", "u"), PodRef("p", "u", "")], ids=repr)
def test_no_node(pod: PodRef | None) -> None:
    """Whose node is not known is not counted by node, and still is by the rest."""
    grant = Grant(GRANT.identity, replace(CALLER, pod=pod))
    quotas = Quotas(QuotaPolicy(node=ONE, identity=TWO), FakeClock())
    assert _taken(quotas, grant) == 2


def test_who_acts_for_another() -> None:
    """Counts for the other's identity and namespace, and for the caller's node."""
    ztunnel = replace(CALLER, identity=SpiffeId.parse("spiffe://cluster.local/ns/istio-system/sa/ztunnel"))
    grant = Grant(GRANT.identity, ztunnel, impersonated=True)
    assert {kind: key(grant) for kind, key in KEYS.items()} == {
        "identity": (str(GRANT.identity),),
        "node": ("Kubernetes", "node-0"),
        "namespace": ("Kubernetes", "payments"),
    }


@pytest.mark.parametrize("used_up", KEYS)
def test_no_partial_take(used_up: str) -> None:
    """A request that one kind refuses takes nothing from the others."""
    clock = FakeClock()
    limits = {kind: ONE if kind == used_up else TWO for kind in KEYS}
    quotas = Quotas(QuotaPolicy(**limits), clock)
    quotas.take(_grant())
    for _ in range(10):
        with pytest.raises(QuotaExceeded, match=f"^quota: {used_up} "):
            quotas.take(_grant())
    # Those of the others that were full but one still are: a stranger to the used up one gets that one.
    others = {"identity": _grant(account="x"), "node": _grant(node="x"), "namespace": _grant(namespace="x")}
    assert _taken(quotas, others[used_up]) == 1


def test_meaning() -> None:
    """The agent tries again, and hears nothing of others; operators read whose quota it is."""
    quotas = Quotas(QuotaPolicy(node=ONE), FakeClock())
    quotas.take(GRANT)
    with pytest.raises(QuotaExceeded) as refusal:
        quotas.take(GRANT)
    assert refusal.value.reason == "quota: node 'Kubernetes/node-0' has used up 1 a second, 1 at once"
    told = meaning(refusal.value)
    assert (told.code, told.retryable, told.citadel_error) == (Code.RESOURCE_EXHAUSTED, True, None)


def test_bounded() -> None:
    """However many come, so many are kept."""
    quotas = Quotas(QuotaPolicy(identity=ONE), FakeClock(), size=10)
    for i in range(100):
        quotas.take(_grant(account=f"a{i}"))
    assert _taken(quotas, _grant(account="a99")) == 0
    buckets = Buckets(ONE, FakeClock(), size=10)
    for i in range(100):
        buckets.of((str(i),))
    assert len(buckets) == 10


def test_a_full_bucket_goes_first() -> None:
    """Nothing is lost with it, though others were not used for longer."""
    clock = FakeClock()
    buckets = Buckets(TWO, clock, size=3)
    for name in "abc":
        buckets.of((name,)).take()
    buckets.of(("a",)).take()
    buckets.of(("b",)).take()
    # None is full now, and c is the longest unused; in a second d will be, and neither a nor b.
    buckets.of(("d",)).take()
    assert not buckets.of(("a",)).ready, "c went"
    clock.advance(1.0)
    buckets.of(("e",))
    assert [not buckets.of((name,)).full for name in "ab"] == [True, True], "d went"


def test_else_the_longest_unused_goes() -> None:
    """Where none is full."""
    buckets = Buckets(TWO, FakeClock(), size=2)
    for name in "abac":
        buckets.of((name,)).take()
    assert not buckets.of(("a",)).ready
    assert buckets.of(("b",)).full, "it was forgotten"


@pytest.mark.parametrize(
    ("ttl", "pods", "quota"),
    [
        (DAY, PODS["identity"], Quota(1.0, 1000.0)),
        (DAY, PODS["node"], Quota(1.0, 250.0)),
        (DAY, PODS["namespace"], Quota(1.0, 5000.0)),
        (HOUR, PODS["namespace"], Quota(10_000 / 3600, 5000.0)),
        (timedelta(minutes=10), PODS["identity"], Quota(2000 / 600, 1000.0)),
        (DAY, 3, Quota(1.0, 100.0)),
    ],
)
def test_expected(ttl: timedelta, pods: int, quota: Quota) -> None:
    """Pinned: a rollout at once, two renewals a lifetime, and never less than one a second."""
    assert expected(ttl, pods) == quota


def test_a_rollout_and_its_renewals_are_no_abuse() -> None:
    """As many pods as are reckoned with start at once and then renew at half of the lifetime, without end."""
    clock = FakeClock()
    quotas = Quotas(QuotaPolicy(identity=expected(HOUR, 1000)), clock)
    for _ in range(4):
        for _ in range(1000):
            quotas.take(GRANT)
        clock.advance(HOUR / 2)
