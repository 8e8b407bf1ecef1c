"""Which cluster's judge a credential goes to."""

import pytest

from signer.authn.clusters import ByCluster
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from tests.support.fakes import FakeAuthenticator, credentials


async def test_by_id() -> None:
    """Each id its judge; an empty one means the local cluster."""
    local, east = FakeAuthenticator(), FakeAuthenticator()
    clusters = ByCluster("Kubernetes", {"Kubernetes": local, "east": east})
    for cluster in ("", "Kubernetes", "east"):
        await clusters.authenticate(credentials(cluster=cluster))
    assert (local.switch.calls, east.switch.calls) == (2, 1)


@pytest.mark.parametrize("cluster", ["west", "kubernetes", " ", "x\n" * 500])
async def test_unknown(cluster: str) -> None:
    """A bad credential; quoted safely."""
    clusters = ByCluster("Kubernetes", {"Kubernetes": FakeAuthenticator()})
    with pytest.raises(AuthenticationFailed, match="unknown cluster '") as refusal:
        await clusters.authenticate(credentials(cluster=cluster))
    assert refusal.value.reason.isprintable()
    assert len(refusal.value.reason) < 400


async def test_what_is_put_and_dropped() -> None:
    """Known from the next call on, and unknown again; what the configuration has is not replaced."""
    local, east, other = FakeAuthenticator(), FakeAuthenticator(), FakeAuthenticator()
    clusters = ByCluster("Kubernetes", {"Kubernetes": local})
    clusters.put("east", east)
    clusters.put("Kubernetes", other)
    for cluster in ("", "Kubernetes", "east"):
        await clusters.authenticate(credentials(cluster=cluster))
    assert (local.switch.calls, east.switch.calls, other.switch.calls) == (2, 1, 0)
    for _ in range(2):
        clusters.drop("east")
    clusters.drop("Kubernetes")
    await clusters.authenticate(credentials())
    with pytest.raises(AuthenticationFailed, match="unknown cluster 'east'"):
        await clusters.authenticate(credentials(cluster="east"))


async def test_a_broken_cluster_is_no_bad_token() -> None:
    """The agent tries again, until it is mended."""
    clusters = ByCluster("Kubernetes", {"Kubernetes": FakeAuthenticator()})
    clusters.put_broken("east", "no connection")
    with pytest.raises(AuthenticationUnavailable, match="cluster 'east' cannot be asked: no connection"):
        await clusters.authenticate(credentials(cluster="east"))
    clusters.put("east", FakeAuthenticator())
    await clusters.authenticate(credentials(cluster="east"))


async def test_aliases() -> None:
    """Each stands for an id, of whatever kind; it wins over an id that a secret brings."""
    local, east, thief = FakeAuthenticator(), FakeAuthenticator(), FakeAuthenticator()
    aliases = {"Kubernetes": "home", "old-east": "east", "chain": "old-east"}
    clusters = ByCluster("home", {"home": local}, aliases=aliases)
    clusters.put("east", east)
    clusters.put("Kubernetes", thief)
    for cluster in ("", "home", "Kubernetes", "old-east"):
        await clusters.authenticate(credentials(cluster=cluster))
    assert (local.switch.calls, east.switch.calls, thief.switch.calls) == (3, 1, 0)
    with pytest.raises(AuthenticationFailed, match="unknown cluster 'chain'"):
        await clusters.authenticate(credentials(cluster="chain"))


async def test_a_cluster_that_may_come_is_not_unknown() -> None:
    """Whoever is told that its credential is bad does not come back."""
    clusters, why = ByCluster("Kubernetes", {"Kubernetes": FakeAuthenticator()}), ["the secrets are not known"]
    clusters.expect(lambda: why[0])
    with pytest.raises(AuthenticationUnavailable, match="unknown cluster 'far': the secrets are not known"):
        await clusters.authenticate(credentials(cluster="far"))
    await clusters.authenticate(credentials())
    why[0] = ""
    with pytest.raises(AuthenticationFailed, match="unknown cluster 'far'"):
        await clusters.authenticate(credentials(cluster="far"))
