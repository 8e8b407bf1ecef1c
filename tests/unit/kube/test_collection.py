"""Pods and service accounts known from a watch: who runs where, what is gone, what is not known yet."""

import asyncio
import time
from typing import Any

import pytest

from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.collection import MAX_ASKED, MAX_GONE, Vanished
from signer.kube.places import Places
from signer.kube.pod_facts import Account, account_of, pod_of
from signer.kube.pods import Pods
from tests.support.listing import list_into
from tests.support.waiting import settle

NOW = 1_000.0
PLACE = ("node-0", "shop", "cart")


def manifest(name: str = "cart-0", uid: str = "uid-0", **over: Any) -> dict[str, Any]:
    """A pod as the API server has it."""
    metadata = {"namespace": "shop", "name": name, "uid": uid, **over.get("metadata", {})}
    spec = {"serviceAccountName": "cart", "nodeName": "node-0", **over.get("spec", {})}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": over.get("phase", "Running")}}


def ending(end: str) -> dict[str, Any]:
    """A pod that somebody has deleted."""
    return manifest(metadata={"deletionTimestamp": end})


def not_found(name: str) -> Answer:
    """The API server's own."""
    return Answer(404, {"kind": "Status", "reason": "NotFound", "details": {"name": name, "kind": "pods"}})


class FakeApi:
    """Gives the same answer to every question for an object, and another one to those for a list."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Answer | ApiUnavailable | None = None
        self.list: Answer | ApiUnavailable = Answer(200, {"items": []})
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(self, method: str, path: str, timeout: float, *, limit: int = 0) -> Answer:
        """Note the question."""
        assert method == "GET"
        self.asked.append(path)
        await asyncio.sleep(0)
        if "fieldSelector" in path:
            return self._give(self.list)
        # As it is when the question comes, told when the gate opens.
        answer = self.answer or not_found(path.rpartition("/")[2])
        await self.gate.wait()
        return self._give(answer)

    @staticmethod
    def _give(answer: Answer | ApiUnavailable) -> Answer:
        if isinstance(answer, ApiUnavailable):
            raise answer
        return answer


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def pods(api: FakeApi) -> Pods:
    """Nothing is waited for."""
    return Pods(api, patience=0.0)  # type: ignore[arg-type]


def test_what_is_taken_of_a_pod() -> None:
    """And of one that says less."""
    pod = pod_of(ending("1970-01-01T00:16:40Z"))
    assert (pod.node, pod.service_account, pod.finished, pod.ends) == ("node-0", "cart", False, 1000.0)
    bare = pod_of({"metadata": {"namespace": "n", "name": "p", "uid": "u"}, "spec": {}})
    assert (bare.node, bare.service_account, bare.finished, bare.ends) == ("", "", False, None)
    assert account_of(manifest()) == Account("shop", "cart-0", "uid-0")


def test_a_pod_without_an_account_is_nobodys() -> None:
    """Mirror pods have none, and a node may make those in any namespace: it must not come by ``default`` there."""
    mirror = manifest(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}, spec={"serviceAccountName": ""})
    del mirror["spec"]["serviceAccountName"]
    places = Places()
    places.put(pod_of(mirror))
    assert not places.has(("node-0", "shop", "default"), NOW)
    assert not places.has(("node-0", "shop", "cart"), NOW)


def test_labels_are_kept_where_they_are_needed() -> None:
    """Of texts alone, as the API has them."""
    item = manifest(metadata={"labels": {"tier": "gold", "app": "cart", "odd": 1}})
    assert pod_of(item).labels is None
    assert pod_of(item, labelled=True).labels == (("app", "cart"), ("tier", "gold"))
    assert pod_of(manifest(), labelled=True).labels == ()


async def test_whether_labels_are_needed_is_asked_each_time(api: FakeApi) -> None:
    needed = [False]
    pods = Pods(api, 0.0, lambda: needed[0])  # type: ignore[arg-type]
    labels = []
    for needed[0] in (False, True):
        pods.changed("ADDED", manifest(metadata={"labels": {"a": "b"}}))
        pod = pods.get("shop", manifest()["metadata"]["name"])
        labels.append(pod and pod.labels)
    assert labels == [None, (("a", "b"),)]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_runs_nowhere(pods: Pods, phase: str) -> None:
    """From its event on."""
    pods.changed("ADDED", manifest())
    assert pods.runs_on(*PLACE, NOW)
    pods.changed("MODIFIED", manifest(phase=phase))
    assert not pods.runs_on(*PLACE, NOW)
    pods.changed("DELETED", manifest(phase=phase))
    assert len(pods) == 0


def test_a_pod_lives_through_its_grace(pods: Pods) -> None:
    """And no longer, whether or not its node tells that it is gone."""
    pods.changed("ADDED", manifest())
    pods.changed("MODIFIED", ending("1970-01-01T00:16:41Z"))
    assert pods.runs_on(*PLACE, NOW)
    assert not pods.runs_on(*PLACE, NOW + 1)
    pods.changed("DELETED", ending("1970-01-01T00:16:41Z"))
    assert not pods.runs_on(*PLACE, NOW)


@pytest.mark.parametrize("place", [("node-1", "shop", "cart"), ("node-0", "shop2", "cart"), ("node-0", "shop", "car")])
def test_only_there(pods: Pods, place: tuple[str, str, str]) -> None:
    """Exactly: node, namespace and account."""
    pods.changed("ADDED", manifest())
    assert not pods.runs_on(*place, NOW)


def test_two_of_one_account_on_a_node(pods: Pods) -> None:
    """The second holds when the first goes; a new list forgets both."""
    pods.changed("ADDED", manifest("cart-0", "uid-0"))
    pods.changed("ADDED", manifest("cart-1", "uid-1"))
    pods.changed("MODIFIED", manifest("cart-1", "uid-1"))
    pods.changed("DELETED", manifest("cart-0", "uid-0"))
    assert pods.runs_on(*PLACE, NOW)
    pods.changed("DELETED", manifest("cart-1", "uid-1"))
    assert not pods.runs_on(*PLACE, NOW)
    pods.changed("ADDED", manifest())
    list_into(pods, [])
    assert not pods.runs_on(*PLACE, NOW)


def test_a_list_counts_once_it_is_whole(pods: Pods) -> None:
    """Page by page, beside what is known; what is not among the pages is gone, and one that was given up is nothing."""
    list_into(pods, [manifest("cart-0", "uid-0")], [manifest("cart-1", "uid-1")])
    gathering = pods.gathering()
    gathering.add([manifest("cart-2", "uid-2")])
    assert (len(pods), pods.get("shop", "cart-2")) == (2, None)
    list_into(pods, [], [manifest("cart-1", "uid-1")])
    assert [pods.get("shop", f"cart-{n}") is not None for n in range(3)] == [False, True, False]


async def test_a_known_pod_costs_no_question(pods: Pods, api: FakeApi) -> None:
    """From the list."""
    list_into(pods, [manifest()])
    assert (await pods.resolve("shop", "cart-0", "uid-0")).node == "node-0"
    assert api.asked == []


async def test_what_is_gone_is_asked_for_once(pods: Pods, api: FakeApi) -> None:
    """A UID never comes back, so a dead token's flood costs one question; many at once share it."""
    tries = [pods.resolve("shop", "cart-0", "uid-0") for _ in range(20)]
    assert all(isinstance(r, Vanished) for r in await asyncio.gather(*tries, return_exceptions=True))
    with pytest.raises(Vanished):
        await pods.resolve("shop", "cart-0", "uid-0")
    assert api.asked == ["/api/v1/namespaces/shop/pods/cart-0"]


async def test_a_deleted_pod_is_gone_without_a_question(pods: Pods, api: FakeApi) -> None:
    """Its event has said so."""
    pods.changed("ADDED", manifest())
    pods.changed("DELETED", manifest())
    with pytest.raises(Vanished):
        await pods.resolve("shop", "cart-0", "uid-0")
    assert api.asked == []


async def test_a_pod_of_the_same_name_is_another_one(pods: Pods, api: FakeApi) -> None:
    """The API server decides: the watch may lag behind a pod that was made again."""
    pods.changed("ADDED", manifest(uid="uid-0"))
    api.answer = Answer(200, manifest(uid="uid-1"))
    assert (await pods.resolve("shop", "cart-0", "uid-1")).uid == "uid-1"
    with pytest.raises(Vanished):
        await pods.resolve("shop", "cart-0", "uid-2")


async def test_no_answer_is_no_refusal(pods: Pods, api: FakeApi) -> None:
    """Nor is what is no pod."""
    unlike = Answer(404, {"reason": "NotFound", "message": "the server could not find the requested resource"})
    for answer in (ApiUnavailable("down"), Answer(403, {}), Answer(404, {}), unlike, Answer(200, {"kind": "Status"})):
        api.answer = answer
        with pytest.raises(ApiUnavailable):
            await pods.resolve("shop", "cart-0", "uid-0")
    api.answer = Answer(200, manifest())
    assert (await pods.resolve("shop", "cart-0", "uid-0")).uid == "uid-0"


async def test_a_lagging_watch_is_waited_for(api: FakeApi) -> None:
    """And whoever waited leaves nothing behind."""
    pods = Pods(api, patience=5.0)  # type: ignore[arg-type]
    waiting = asyncio.create_task(pods.resolve("shop", "cart-0", "uid-0"))
    placed = asyncio.create_task(pods.comes_to(*PLACE, NOW, 5.0))
    await settle()
    pods.changed("ADDED", manifest(spec={"nodeName": ""}))
    assert (await waiting).uid == "uid-0"
    assert not placed.done()
    pods.changed("MODIFIED", manifest())
    assert await placed
    assert (api.asked, pods._waiters._of) == ([], {})


async def test_a_list_wakes_who_waits(pods: Pods) -> None:
    """As events do."""
    placed = asyncio.create_task(pods.comes_to(*PLACE, NOW, 5.0))
    await settle()
    list_into(pods, [manifest()])
    assert await placed


def test_while_all_is_listed_nothing_is_heard(pods: Pods) -> None:
    """However long that takes: it is no watch that works."""
    pods.watch.broken_since = None
    assert pods.stale_for() == 0.0
    pods.watch.listing_since = time.monotonic() - 10.0
    assert pods.stale_for() >= 10.0
    pods.watch.broken_since = time.monotonic() - 20.0
    assert pods.stale_for() >= 20.0


def test_the_memory_of_what_is_gone_is_bounded(pods: Pods) -> None:
    """The oldest go first."""
    for number in range(MAX_GONE + 5):
        pods.changed("DELETED", manifest(uid=str(number)))
    assert (len(pods._gone), "4" in pods._gone, "5" in pods._gone) == (MAX_GONE, False, True)


async def test_an_answer_for_an_earlier_pod_says_nothing_of_a_later_one(pods: Pods, api: FakeApi) -> None:
    """Both are asked for under one name, and the first answer comes late."""
    api.gate.clear()
    old = asyncio.create_task(pods.resolve("shop", "cart-0", "uid-old"))
    await settle()
    api.answer = Answer(200, manifest(uid="uid-new"))
    new = asyncio.create_task(pods.resolve("shop", "cart-0", "uid-new"))
    await settle()
    api.gate.set()
    with pytest.raises(Vanished):
        await old
    assert (await new).uid == "uid-new"


async def test_what_the_watch_has_is_there_whatever_was_said_before(pods: Pods) -> None:
    """A wrong answer must not refuse a pod for ever."""
    with pytest.raises(Vanished):
        await pods.resolve("shop", "cart-0", "uid-0")
    pods.changed("ADDED", manifest())
    assert (await pods.resolve("shop", "cart-0", "uid-0")).uid == "uid-0"
    assert "uid-0" not in pods._gone


async def test_a_pod_that_is_not_ready_is_asked_for(pods: Pods, api: FakeApi) -> None:
    """Known from before it was on a node, while the watch says nothing."""
    pods.changed("ADDED", manifest(spec={"nodeName": ""}))
    api.answer = Answer(200, manifest())
    assert (await pods.resolve("shop", "cart-0", "uid-0", lambda pod: bool(pod.node))).node == "node-0"


async def test_a_refusal_is_asked_for(pods: Pods, api: FakeApi) -> None:
    """By the node's own list, shared by who ask at once; a pod that has ended is none."""
    assert not await pods.are_on(*PLACE, NOW)
    api.list = Answer(200, {"items": [manifest()]})
    assert await asyncio.gather(*(pods.are_on(*PLACE, NOW) for _ in range(5))) == [True] * 5
    assert api.asked == ["/api/v1/namespaces/shop/pods?fieldSelector=spec.nodeName%3Dnode-0&limit=200"] * 2
    api.list = Answer(200, {"items": [manifest(phase="Failed"), manifest(spec={"nodeName": "node-1"})]})
    assert not await pods.are_on(*PLACE, NOW)
    for answer in (ApiUnavailable("down"), Answer(403, {}), Answer(200, {"items": [{}]})):
        api.list = answer
        with pytest.raises(ApiUnavailable):
            await pods.are_on(*PLACE, NOW)


async def test_who_waits_while_it_is_closed_is_told_an_outage(pods: Pods, api: FakeApi) -> None:
    """And not that the caller itself has gone away."""
    api.gate.clear()
    asking = asyncio.create_task(pods.resolve("shop", "cart-0", "uid-0"))
    await settle()
    await pods.close()
    with pytest.raises(ApiUnavailable, match="closed"):
        await asking
    assert pods.stale_for() == float("inf")


async def test_not_too_many_questions(api: FakeApi) -> None:
    """Whatever names callers bring."""
    pods = Pods(api, patience=0.0)  # type: ignore[arg-type]
    api.gate.clear()
    asking = [asyncio.create_task(pods.resolve("shop", f"cart-{n}", f"uid-{n}")) for n in range(MAX_ASKED)]
    await settle()
    with pytest.raises(ApiUnavailable, match="under way"):
        await pods.resolve("shop", "one-more", "uid")
    api.gate.set()
    assert all(isinstance(told, Vanished) for told in await asyncio.gather(*asking, return_exceptions=True))
