"""What one cluster's parts are wired from: labels that the watch has."""

import time

import pytest

from signer.app.one_cluster import _watched_labels
from signer.kube.pod_facts import Labels
from signer.kube.pods import Pods
from tests.support.listing import list_into
from tests.unit.kube.test_collection import FakeApi, manifest

POD = ("shop", "cart-0", "uid-0", "cart")
KNOWN = (("tier", "gold"),)
CASES: dict[str, tuple[tuple[str, str, str, str], float, Labels | None]] = {
    "the very pod": (POD, 0.0, KNOWN),
    "in an outage": (POD, 4.0, KNOWN),
    "after it": (POD, 6.0, None),
    "another name": (("shop", "cart-1", "uid-0", "cart"), 0.0, None),
    "another namespace": (("bank", "cart-0", "uid-0", "cart"), 0.0, None),
    "made again": (("shop", "cart-0", "uid-1", "cart"), 0.0, None),
    "another account": (("shop", "cart-0", "uid-0", "admin"), 0.0, None),
}


@pytest.mark.parametrize(("pod", "broken", "labels"), CASES.values(), ids=CASES)
async def test_watched_labels(pod: tuple[str, str, str, str], broken: float, labels: Labels | None) -> None:
    """Of no other than the pod that was proven, and as long as the watch is believed."""
    pods = Pods(FakeApi(), 0.0, lambda: True)  # type: ignore[arg-type]
    list_into(pods, [manifest(metadata={"labels": dict(KNOWN)})])
    pods.watch.synced.set()
    pods.watch.broken_since = time.monotonic() - broken if broken else None
    assert _watched_labels(pods, 5.0, *pod) == labels
    await pods.close()
