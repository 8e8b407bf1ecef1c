"""Which cluster's judge a credential goes to."""

import pytest

from signer.authn.clusters import ByCluster
from signer.core.errors import AuthenticationFailed
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
