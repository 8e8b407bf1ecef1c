"""Acting for others: who may, for whom, and what is an outage instead of a refusal."""

import asyncio
import re
import time
from dataclasses import dataclass, field, replace
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
        proxies = NodeProxies(frozenset({"istio-system/ztunnel"}), self.pods, 300.0)
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


@dataclass(frozen=True, slots=True)
class Case:
    """One refusal: a good request but for what is given, and the whole reason after "asked to act", as a pattern.

    The API server says of the proxy's pod what the list says.
    """

    reason: str
    impersonated: str = CART
    caller: Caller = PROXY
    proxy: dict[str, Any] = field(default_factory=proxy_pod)
    workload: dict[str, Any] = field(default_factory=manifest)


_NOBODY = "no live pod of it runs on node 'node-0'"
_NO_ID, _NO_ACCOUNT = "not a valid Istio SPIFFE ID", "not a valid service account"
_UNTRUSTED = "is no trusted node account of cluster"
_ANOTHER = "pods: there is no 'ztunnel-0' with this uid"
_NODES = "its token names node 'node-1', its pod is on 'node-0'"
_ENDED = {"deletionTimestamp": "2025-06-01T11:59:59Z"}
REFUSED: dict[str, Case] = {
    "other node": Case(_NOBODY, workload=manifest(spec={"nodeName": "node-1"})),
    "no such pod": Case(_NOBODY, workload={}),
    "finished pod": Case(_NOBODY, workload=manifest(phase="Succeeded")),
    "ended pod": Case(_NOBODY, workload=manifest(metadata=_ENDED)),
    "other account": Case(_NOBODY, workload=manifest(spec={"serviceAccountName": "till"})),
    "other trust domain": Case("it is of trust domain cluster.locai", CART.replace("local", "locai")),
    "comma": Case(f"{_NO_ID}: '{CART},{CART}'", f"{CART},{CART}"),
    "newline": Case(rf"{_NO_ACCOUNT}: 'cart\\n'", f"{CART}\n"),
    "look-alike": Case(rf"{_NO_ACCOUNT}: 'c\\u0430rt'", CART.replace("cart", "c\u0430rt")),
    "upper case": Case(f"{_NO_ID}: 'SPIFFE:.*'", CART.replace("spiffe", "SPIFFE")),
    "percent": Case(f"{_NO_ACCOUNT}: 'c%61rt'", CART.replace("cart", "c%61rt")),
    "not trusted": Case(f"shop/cart {_UNTRUSTED} 'Kubernetes'", caller=replace(PROXY, identity=SpiffeId.parse(CART))),
    "trusted elsewhere": Case(f"istio-system/ztunnel {_UNTRUSTED} 'other'", caller=replace(PROXY, cluster="other")),
    "no pod in the token": Case(".*(proven no pod|bound to no pod).*", caller=replace(PROXY, pod=None)),
    "proxy pod made again": Case(_ANOTHER, proxy=proxy_pod(uid="uid-y")),
    "proxy pod gone": Case(_ANOTHER, proxy={}),
    "proxy pod of another account": Case(
        "its pod runs as another service account", proxy=proxy_pod(spec={"serviceAccountName": "x"})
    ),
    "proxy pod finished": Case("its pod has ended", proxy=proxy_pod(phase="Failed")),
    "proxy pod deleted": Case("its pod has ended", proxy=proxy_pod(metadata=_ENDED)),
    "proxy pod on no node": Case(
        "its pod is on no node", proxy=proxy_pod(spec={"nodeName": ""}), workload=manifest(spec={"nodeName": ""})
    ),
    "token of another node": Case(_NODES, caller=replace(PROXY, pod=PodRef("ztunnel-0", "uid-z", "node-1"))),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_refused(case: Case) -> None:
    """As a bad credential, with the reason for operators."""
    desk = Desk(*filter(None, (case.proxy, case.workload)))
    desk.api.answer = Answer(200, case.proxy) if case.proxy else None
    with pytest.raises(ImpersonationDenied) as refusal:
        await desk.ask(case.impersonated, case.caller)
    assert re.fullmatch(f"{case.caller.identity} asked to act(?: for '.*')?: {case.reason}", refusal.value.reason)


async def test_what_is_not_known_is_no_refusal() -> None:
    """Neither before the first list, nor while the watch is broken, nor where the proxy's pod cannot be read."""
    desk = Desk(proxy_pod())
    desk.pods.watch.synced.clear()
    with pytest.raises(AuthenticationUnavailable):
        await desk.ask()
    desk.pods.watch.synced.set()
    desk.pods.watch.broken_since = -1e9
    with pytest.raises(AuthenticationUnavailable, match=r"impersonation: pods: not watched for \d+ s: "):
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


LISTED: dict[str, dict[str, Any]] = {
    "other node": manifest(spec={"nodeName": "node-1"}),
    "other namespace": manifest(metadata={"namespace": "till"}),
    "other account": manifest(spec={"serviceAccountName": "till"}),
    "finished": manifest(phase="Succeeded"),
    "ended": manifest(metadata=_ENDED),
}


@pytest.mark.parametrize("listed", LISTED.values(), ids=LISTED)
async def test_what_the_api_server_lists_is_judged_too(listed: dict[str, Any]) -> None:
    """By all that a pod known from the watch is judged by: the server picks by node and namespace alone."""
    desk = Desk(proxy_pod())
    desk.api.list = Answer(200, {"items": [listed]})
    with pytest.raises(ImpersonationDenied, match=_NOBODY):
        await desk.ask()
    assert len(desk.api.asked) == 1


async def test_one_proxy_does_not_hold_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may ask for whom it likes; those who wait beyond a few are told to come back, at once."""
    monkeypatch.setattr(ambient, "PATIENCE", 60.0)
    desk = Desk(proxy_pod())
    flood = [asyncio.create_task(desk.ask(CART.replace("cart", f"no-{n}"))) for n in range(ambient.MAX_WAITING_EACH)]
    await settle()
    mine = f"{ambient.MAX_WAITING_EACH} requests of this proxy wait for pods"
    with pytest.raises(AuthenticationUnavailable, match=mine):
        await desk.ask()
    monkeypatch.setattr(ambient, "MAX_WAITING", ambient.MAX_WAITING_EACH)
    monkeypatch.setattr(ambient, "MAX_WAITING_EACH", ambient.MAX_WAITING_EACH + 1)
    with pytest.raises(AuthenticationUnavailable, match="requests of other proxies wait for pods"):
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
