"""Acting for others: who may, for whom, and what is an outage instead of a refusal."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from signer.authz import ambient
from signer.authz.ambient import ForOthers, NodeProxies
from signer.core.errors import AuthenticationUnavailable, ImpersonationDenied
from signer.core.identity import SpiffeId
from signer.core.types import Caller, Grant, PodRef
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.pods import Pods
from tests.support.clock import FakeClock
from tests.support.listing import list_into
from tests.support.waiting import settle
from tests.unit.kube.test_collection import FakeApi, manifest

ZTUNNEL = SpiffeId.parse("spiffe://cluster.local/ns/istio-system/sa/ztunnel")
CART = "spiffe://cluster.local/ns/shop/sa/cart"
PROXY = Caller(ZTUNNEL, "token-review", "Kubernetes", PodRef("ztunnel-0", "uid-z", "node-0"))


def proxy_pod(**over: Any) -> dict[str, Any]:
    """The node proxy's own pod."""
    metadata = {"namespace": "istio-system", **over.pop("metadata", {})}
    spec = {"serviceAccountName": "ztunnel", **over.pop("spec", {})}
    return manifest("ztunnel-0", over.pop("uid", "uid-z"), metadata=metadata, spec=spec, **over)


class Desk:
    """An authorizer over pods that were listed."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.api, self.clock = FakeApi(), FakeClock()
        self.pods = Pods(self.api, patience=0.0)  # type: ignore[arg-type]
        list_into(self.pods, [*pods])
        self.pods.watch.synced.set()
        self.pods.watch.broken_since = None
        proxies = NodeProxies(frozenset({"istio-system/ztunnel"}), self.pods)
        self.desk = ForOthers({"Kubernetes": proxies}, self.clock)

    async def ask(self, impersonated: str = CART, caller: Caller = PROXY) -> Grant:
        """Authorize."""
        return await self.desk.authorize(caller, impersonated)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambient, "PATIENCE", 0.0)


async def test_a_workload_of_the_same_node() -> None:
    """Without a single question to the API server."""
    desk = Desk(proxy_pod(), manifest())
    assert await desk.ask() == Grant(SpiffeId.parse(CART), PROXY, impersonated=True)
    assert desk.api.asked == []


async def test_ones_own_identity() -> None:
    """Everybody's, whoever is trusted."""
    assert await ForOthers({}, FakeClock()).authorize(PROXY, "") == Grant(ZTUNNEL, PROXY)


REFUSED: dict[str, tuple[Desk, str, Caller]] = {
    "other node": (Desk(proxy_pod(), manifest(spec={"nodeName": "node-1"})), CART, PROXY),
    "no such pod": (Desk(proxy_pod()), CART, PROXY),
    "finished pod": (Desk(proxy_pod(), manifest(phase="Succeeded")), CART, PROXY),
    "ended pod": (Desk(proxy_pod(), manifest(metadata={"deletionTimestamp": "2025-06-01T11:59:59Z"})), CART, PROXY),
    "other account": (Desk(proxy_pod(), manifest(spec={"serviceAccountName": "till"})), CART, PROXY),
    "other trust domain": (Desk(proxy_pod(), manifest()), CART.replace("cluster.local", "cluster.locai"), PROXY),
    "comma": (Desk(proxy_pod(), manifest()), f"{CART},{CART}", PROXY),
    "newline": (Desk(proxy_pod(), manifest()), f"{CART}\n", PROXY),
    "look-alike": (Desk(proxy_pod(), manifest()), CART.replace("cart", "c\u0430rt"), PROXY),
    "upper case": (Desk(proxy_pod(), manifest()), CART.replace("spiffe", "SPIFFE"), PROXY),
    "percent": (Desk(proxy_pod(), manifest()), CART.replace("cart", "c%61rt"), PROXY),
    "not trusted": (Desk(proxy_pod(), manifest()), CART, replace(PROXY, identity=SpiffeId.parse(CART))),
    "trusted elsewhere": (Desk(proxy_pod(), manifest()), CART, replace(PROXY, cluster="other")),
    "no pod in the token": (Desk(proxy_pod(), manifest()), CART, replace(PROXY, pod=None)),
    "proxy pod made again": (Desk(proxy_pod(uid="uid-y"), manifest()), CART, PROXY),
    "proxy pod gone": (Desk(manifest()), CART, PROXY),
    "proxy pod of another account": (Desk(proxy_pod(spec={"serviceAccountName": "x"}), manifest()), CART, PROXY),
    "proxy pod finished": (Desk(proxy_pod(phase="Failed"), manifest()), CART, PROXY),
    "proxy pod on no node": (Desk(proxy_pod(spec={"nodeName": ""}), manifest(spec={"nodeName": ""})), CART, PROXY),
    "token of another node": (
        Desk(proxy_pod(), manifest()),
        CART,
        replace(PROXY, pod=PodRef("ztunnel-0", "uid-z", "node-1")),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused(case: str) -> None:
    """As a bad credential, with the reason for operators."""
    desk, impersonated, caller = REFUSED[case]
    with pytest.raises(ImpersonationDenied, match="asked to act"):
        await desk.ask(impersonated, caller)


async def test_what_is_not_known_is_no_refusal() -> None:
    """Neither before the first list, nor while the watch is broken, nor where the proxy's pod cannot be read."""
    desk = Desk(proxy_pod())
    desk.pods.watch.synced.clear()
    with pytest.raises(AuthenticationUnavailable):
        await desk.ask()
    desk.pods.watch.synced.set()
    desk.pods.watch.broken_since = -1e9
    with pytest.raises(AuthenticationUnavailable, match="not been watched"):
        await desk.ask()
    unread = Desk()
    unread.api.answer = ApiUnavailable("down")
    with pytest.raises(AuthenticationUnavailable, match="down"):
        await unread.ask()


async def test_an_outage_leaves_known_pods_their_proxy() -> None:
    """For the configured time."""
    desk = Desk(proxy_pod(), manifest())
    desk.pods.watch.broken_since = time.monotonic() - 10
    assert (await desk.ask()).impersonated
    assert desk.api.asked == []


async def test_a_dead_watch_is_no_refusal() -> None:
    """Before one, the API server is asked."""
    desk = Desk(proxy_pod())
    desk.api.list = Answer(200, {"items": [manifest()]})
    assert (await desk.ask()).impersonated
    desk.api.list = ApiUnavailable("down")
    with pytest.raises(AuthenticationUnavailable, match="down"):
        await desk.ask(CART.replace("cart", "till"))


async def test_one_proxy_does_not_hold_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may ask for whom it likes; those who wait beyond a few are told to come back, at once."""
    monkeypatch.setattr(ambient, "PATIENCE", 60.0)
    desk = Desk(proxy_pod())
    flood = [asyncio.create_task(desk.ask(CART.replace("cart", f"no-{n}"))) for n in range(ambient.MAX_WAITING_EACH)]
    await settle()
    with pytest.raises(AuthenticationUnavailable, match="wait for pods"):
        await desk.ask()
    assert (await desk.ask("")).identity == ZTUNNEL
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    assert not desk.desk._waiting._of


async def test_during_an_outage_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what cannot come."""
    monkeypatch.setattr(ambient, "PATIENCE", 60.0)
    desk = Desk(proxy_pod())
    desk.pods.watch.broken_since = time.monotonic()
    async with asyncio.timeout(5.0):
        with pytest.raises(AuthenticationUnavailable, match="not known now"):
            await desk.ask()
