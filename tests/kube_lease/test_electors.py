"""Electors against the real API server: one leads, another follows, and the object is as others expect it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from signer.kube.connect import connect
from signer.kube.lease import Elector
from signer.runtime.clock import SystemClock
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.rbac import grant
from tests.kube_lease.conftest import ACCOUNT, RIGHTS
from tests.kube_lease.stander import settings

DURATION, RENEW, RETRY = 3.0, 1.0, 0.3
MICRO_TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


class Candidate:
    """One that runs, with a connection of its own."""

    def __init__(self, elector: Elector, told: list[bool]) -> None:
        self.elector = elector
        self.told = told
        self.task = asyncio.create_task(elector.run())

    async def kill(self) -> None:
        """End without a release."""
        assert not self.task.done(), "it never ends by itself"
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def leads(self, deadline: float = 10.0) -> float:
        """Seconds of the monotonic clock at which it leads, waited for."""
        async with asyncio.timeout(deadline):
            await self.elector.wait()
        return time.monotonic()


Stand = Callable[[str], "asyncio.Future[Candidate]"]


@pytest.fixture
async def stand(namespace: str, bare_kubeconfig: Path) -> AsyncIterator[Stand]:
    """A function that has one more stand."""
    apis, candidates = [], list[Candidate]()

    async def begin(identity: str) -> Candidate:
        apis.append(await connect(bare_kubeconfig))
        told: list[bool] = []
        elector = Elector(apis[-1], settings(namespace, identity), SystemClock(), told.append)
        candidates.append(Candidate(elector, told))
        return candidates[-1]

    yield lambda identity: asyncio.ensure_future(begin(identity))
    for candidate in candidates:
        if not candidate.task.done():
            await candidate.kill()
    for api in apis:
        await api.close()


@pytest.fixture
def may_elect(kubeconfig: Path) -> Path:
    """The account has its rights."""
    return kubeconfig


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("it never came to hold")


def lease(kube: Kube, namespace: str) -> Manifest:
    """The object."""
    return kube.get("coordination.k8s.io/v1", "Lease", "istio-signer", namespace)


@pytest.mark.usefixtures("may_elect")
async def test_of_two_one_leads_and_stays(kube: Kube, namespace: str, stand: Stand) -> None:
    first, second = await asyncio.gather(stand("a"), stand("b"))
    end = time.monotonic() + 2 * DURATION
    leaders = set()
    while time.monotonic() < end:
        assert not (first.elector.leads and second.elector.leads)
        leaders |= {name for name, one in (("a", first), ("b", second)) if one.elector.leads}
        await asyncio.sleep(0.01)
    (leader,) = leaders
    assert (first.elector.holder, second.elector.holder) == (leader, leader)
    assert sorted([first.told, second.told]) == [[], [True]]
    spec = lease(kube, namespace)["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (leader, 3, 0)
    assert all(re.fullmatch(MICRO_TIME, spec[key]) for key in ("acquireTime", "renewTime"))
    assert spec["acquireTime"] < spec["renewTime"]


@pytest.mark.usefixtures("may_elect")
async def test_a_killed_leader_is_followed_within_the_duration(kube: Kube, namespace: str, stand: Stand) -> None:
    first = await stand("a")
    await first.leads()
    second = await stand("b")
    await asyncio.sleep(RENEW)
    await first.kill()
    killed = time.monotonic()
    assert (first.elector.leads, first.told) == (False, [True, False])
    assert await second.leads() - killed <= DURATION + RETRY + 1.0
    spec = lease(kube, namespace)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], second.elector.term) == ("b", 1, 1)


@pytest.mark.usefixtures("may_elect")
async def test_a_released_lease_is_taken_at_once(kube: Kube, namespace: str, stand: Stand) -> None:
    first = await stand("a")
    await first.leads()
    await first.elector.close()
    spec = lease(kube, namespace)["spec"]
    assert (spec.get("holderIdentity", ""), spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("", 1, 0)
    second = await stand("b")
    await second.leads()
    third = await stand("c")
    await until(lambda: third.elector.holder == "b")
    await second.elector.close()
    released = time.monotonic()
    assert await third.leads() - released <= 2 * RETRY
    assert third.elector.term == 2


@pytest.mark.usefixtures("may_elect")
async def test_a_lease_of_another_program_is_respected_and_then_taken(kube: Kube, namespace: str, stand: Stand) -> None:
    moment = "2020-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "x", "leaseDurationSeconds": 2, "acquireTime": moment, "renewTime": moment}
    kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    kube.apply({**kind, "metadata": {"name": "istio-signer", "labels": {"by": "hand"}}, "spec": spec}, namespace)
    begun = time.monotonic()
    first = await stand("a")
    assert 2.0 <= await first.leads() - begun <= 2.0 + RETRY + 1.0, "its clock is five years behind, and means nothing"
    taken = lease(kube, namespace)
    assert (taken["spec"]["leaseTransitions"], taken["metadata"]["labels"]) == (1, {"by": "hand"})


@pytest.mark.usefixtures("may_elect")
async def test_a_deleted_lease_is_made_again(kube: Kube, namespace: str, stand: Stand) -> None:
    first = await stand("a")
    await first.leads()
    second = await stand("b")
    await asyncio.sleep(RENEW)
    kube.delete("coordination.k8s.io/v1", "Lease", "istio-signer", namespace)
    await asyncio.sleep(2 * RENEW)
    assert (first.elector.leads, second.elector.leads) == (True, False)
    assert lease(kube, namespace)["spec"]["holderIdentity"] == "a"


async def test_rights_that_are_missing_are_named_and_used_once_given(kube: Kube, namespace: str, stand: Stand) -> None:
    first = await stand("a")
    await until(lambda: bool(first.elector.fault))
    assert "HTTP 403" in first.elector.fault
    assert f"grant get, create and update on leases (apiGroup coordination.k8s.io) in namespace {namespace}" in (
        first.elector.fault
    )
    grant(kube, namespace, ACCOUNT, [RIGHTS], cluster_wide=False)
    await first.leads(40.0)
    assert first.elector.fault == ""
