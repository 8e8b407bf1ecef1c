"""Whether a token's pod and account still are what it names: every way in which they may not be."""

import math
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from signer.authn.live_pod import LEEWAY_SECONDS, LivePods
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from signer.core.types import PodRef
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.pod_facts import Account, Pod
from signer.kube.pods import Accounts, Pods
from tests.support.clock import NOW, FakeClock
from tests.support.listing import list_into, manifest_of
from tests.unit.kube.test_collection import FakeApi, manifest

MOMENT = NOW.timestamp()
TOLERANCE = 300.0
POD = Pod("shop", "cart-0", "uid-0", "cart", "node-0")
ACCOUNT = Account("shop", "cart", "account-0")
NAMED = PodRef("cart-0", "uid-0", "node-0")
FOUND = NAMED
LATE, GONE = MOMENT - LEEWAY_SECONDS, MOMENT - LEEWAY_SECONDS - 0.001
_NODE = "the pod is on 'node-0'"
_ENDED = "was to be gone a minute ago"


class Scene:
    """Both collections as they are known, and an API server that knows nothing more unless it is told."""

    def __init__(self, pod: Pod | None = POD, account: Account | None = ACCOUNT) -> None:
        self.api = FakeApi()
        api = cast(KubeApi, self.api)
        self.pods, self.accounts = Pods(api, 0.0), Accounts(api, 0.0)
        list_into(self.pods, [manifest_of(pod)] if pod else [])
        list_into(self.accounts, [manifest_of(account)] if account else [])
        for collection in (self.pods, self.accounts):
            collection.watch.synced.set()
            collection.watch.broken_since = None
        self.live = LivePods(self.pods, self.accounts, FakeClock(), TOLERANCE)

    async def check(self, named: PodRef = NAMED, uid: str = "account-0") -> PodRef:
        """What a token of this pod proves."""
        return await self.live.check("shop", "cart", uid, named)


VERDICTS: dict[str, tuple[Pod | None, Account | None, PodRef, PodRef | str]] = {
    "all as it was": (POD, ACCOUNT, NAMED, FOUND),
    "a token without a node": (POD, ACCOUNT, replace(NAMED, node=None), FOUND),
    "a token with an empty node": (POD, ACCOUNT, replace(NAMED, node=""), FOUND),
    "on no node, as the token says": (replace(POD, node=""), ACCOUNT, replace(NAMED, node=None), NAMED),
    "another node": (POD, ACCOUNT, replace(NAMED, node="node-1"), f"the token names node 'node-1', {_NODE}"),
    "another account": (replace(POD, service_account="web"), ACCOUNT, NAMED, "runs as another service account"),
    "finished": (replace(POD, finished=True), ACCOUNT, NAMED, "the pod has finished"),
    "no pod": (None, ACCOUNT, NAMED, "pods: there is no 'cart-0' with this uid"),
    "another pod": (replace(POD, uid="uid-1"), ACCOUNT, NAMED, "pods: there is no 'cart-0' with this uid"),
    "no account": (POD, None, NAMED, "serviceaccounts: there is no 'cart' with this uid"),
    "account made anew": (POD, replace(ACCOUNT, uid="account-1"), NAMED, "serviceaccounts: there is no 'cart'"),
    "pod of another namespace": (replace(POD, namespace="bank"), ACCOUNT, NAMED, "pods: there is no 'cart-0'"),
    "pod ends later": (replace(POD, ends=MOMENT + 1), ACCOUNT, NAMED, FOUND),
    "pod ended within the leeway": (replace(POD, ends=LATE), ACCOUNT, NAMED, FOUND),
    "pod ended before it": (replace(POD, ends=GONE), ACCOUNT, NAMED, _ENDED),
    "account ends later": (POD, replace(ACCOUNT, ends=MOMENT + 1), NAMED, FOUND),
    "account ended within the leeway": (POD, replace(ACCOUNT, ends=LATE), NAMED, FOUND),
    "account ended before it": (POD, replace(ACCOUNT, ends=GONE), NAMED, _ENDED),
}


@pytest.mark.parametrize(("pod", "account", "named", "verdict"), VERDICTS.values(), ids=VERDICTS)
async def test_verdicts(pod: Pod | None, account: Account | None, named: PodRef, verdict: PodRef | str) -> None:
    """Pod x account x what the token names."""
    scene = Scene(pod, account)
    if isinstance(verdict, PodRef):
        found = await scene.check(named)
        assert (found.name, found.uid, found.node or "") == (verdict.name, verdict.uid, pod.node if pod else None)
        assert scene.api.asked == [], "from memory"
        return
    with pytest.raises(AuthenticationFailed) as refusal:
        await scene.check(named)
    assert refusal.value.reason.startswith("live: ")
    assert verdict in refusal.value.reason


def test_the_leeway_is_the_api_servers() -> None:
    """kubernetes: pkg/serviceaccount/claims.go."""
    assert LEEWAY_SECONDS == 60.0


async def test_a_pod_that_was_scheduled_since_is_asked_for() -> None:
    """What is known is from before; the token was made after."""
    scene = Scene(replace(POD, node=""))
    scene.api.answer = Answer(200, manifest())
    assert await scene.check() == NAMED
    assert scene.api.asked == ["/api/v1/namespaces/shop/pods/cart-0"]


@pytest.mark.parametrize("missing", ["pod", "account"])
async def test_where_the_api_server_does_not_say(missing: str) -> None:
    """It is no verdict."""
    scene = Scene(None if missing == "pod" else POD, None if missing == "account" else ACCOUNT)
    scene.api.answer = ApiUnavailable("no connection")
    with pytest.raises(AuthenticationUnavailable, match="live: no connection"):
        await scene.check()


STALE: dict[str, tuple[float, float, bool]] = {
    "both watched": (0.0, 0.0, True),
    "both within": (TOLERANCE - 5, TOLERANCE - 5, True),
    "pods beyond": (TOLERANCE + 5, 0.0, False),
    "accounts beyond": (0.0, TOLERANCE + 5, False),
    "both beyond": (TOLERANCE + 5, TOLERANCE + 5, False),
}


@pytest.mark.parametrize(("pods", "accounts", "believed"), STALE.values(), ids=STALE)
async def test_how_long_what_is_known_is_believed(pods: float, accounts: float, believed: bool) -> None:
    """Of accounts too: one that was deleted must not live for as long as its watch is broken."""
    scene = Scene()
    for collection, seconds in ((scene.pods, pods), (scene.accounts, accounts)):
        collection.watch.broken_since = time.monotonic() - seconds if seconds else None
        collection.watch.fault = "HTTP 500"
    if believed:
        assert await scene.check() == NAMED
        return
    with pytest.raises(AuthenticationUnavailable, match=r"live: not watched for 30\d s: HTTP 500"):
        await scene.check()


@pytest.mark.parametrize("which", ["pods", "accounts"])
async def test_what_was_closed_is_believed_no_more(which: str) -> None:
    scene = Scene()
    closed: Any = getattr(scene, which)
    await closed.close()
    assert closed.stale_for() == math.inf
    with pytest.raises(AuthenticationUnavailable, match="live: not watched for inf s"):
        await scene.check()


async def test_before_the_first_list_the_api_server_is_asked() -> None:
    """There is nothing yet that could be stale."""
    scene = Scene(None)
    scene.pods.watch.synced.clear()
    scene.pods.watch.broken_since = time.monotonic() - 2 * TOLERANCE
    scene.api.answer = Answer(200, manifest())
    assert await scene.check() == NAMED
