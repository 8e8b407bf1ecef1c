"""A watch that must list everything again: no CSR fails meanwhile, and what has gone meanwhile is found to be gone."""

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.cluster.kubeconfig import Access
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.calls import Call
from tests.server.loop import LoopThread
from tests.server.relay import Relay, relaying
from tests.server.running import Running, configuration, running
from tests.server.sides import PROXIES, SHOP, Side
from tests.server.traffic import Traffic, traffic

LISTS = 5
LIMIT = 10.0
"""Seconds for one list; lists in a row have pauses between them, of less than a second each."""


@dataclass(slots=True)
class Scene:
    """A signer whose API server's watches end at will, and a node with a proxy."""

    here: Side
    relay: Relay
    server: Running
    node: str

    def proxy(self) -> str:
        """A token of the node's proxy."""
        return self.here.token("ztunnel", node=self.node, namespace=PROXIES)

    def code(self, call: Call) -> str:
        """What the caller is told."""
        return self.server.send(call).code

    def end_watches(self) -> None:
        """Force a list of all pods."""
        until(lambda: self.relay.watching, deadline=LIMIT, what="a watch to end", interval=0.01)
        self.relay.end_watches()


@pytest.fixture
def scene(loops: LoopThread, kube: Kube, cluster: Cluster, tmp_path: Path) -> Iterator[Scene]:
    here = Side("Kubernetes", kube, cluster)
    far = Access.load(here.kubeconfig(tmp_path, "relist"))
    with relaying(loops, far) as relay:
        config = configuration(
            cas.init(tmp_path / "ca"),
            clusters=[{"id": here.name, "kubeconfig": str(relay.access(tmp_path / "relay")), "tokens": "offline"}],
            ambient={"trusted_node_accounts": [f"{PROXIES}/ztunnel"]},
        )
        with running(loops, tmp_path, config, mint=lambda: here.token("cart")) as server:
            yield Scene(here, relay, server, f"node-{uuid.uuid4().hex[:6]}")


def test_no_csr_fails(scene: Scene) -> None:
    """Neither a pod's own, nor its proxy's, nor one of a pod that starts just then."""
    here, proxy, own = scene.here, scene.proxy(), scene.here.token("cart")
    here.pod("cart", node=scene.node)
    turns = itertools.count()
    with traffic(scene.server.client, lambda: here.act(proxy, "cart") if next(turns) % 2 else here.call(own)) as flow:
        for _ in range(LISTS):
            enough = len(flow.replies) + 10
            wanted = scene.relay.lists + 1
            scene.end_watches()
            assert scene.code(here.call(here.token("cart"))) == "OK"
            until(partial(_listed, scene.relay, wanted), deadline=LIMIT, what="a list", interval=0.01)
            until(partial(_came, flow, enough), deadline=LIMIT, what="more calls")
    assert scene.relay.lists > LISTS
    assert "listed again and again" in scene.server.log.text(), "it was no server in trouble, but looked like one"


def _listed(relay: Relay, lists: int) -> bool:
    return relay.lists >= lists


def _came(flow: Traffic, calls: int) -> bool:
    return len(flow.replies) >= calls


def test_who_has_gone_meanwhile_is_refused(scene: Scene) -> None:
    """The watch never told: not being on the list says it."""
    here, proxy = scene.here, scene.proxy()
    gone, stays = here.pod("cart"), here.token("cart")
    token = here.kube.pod_token(SHOP, "cart", gone)
    mine = f"till-{uuid.uuid4().hex[:6]}"
    workload = here.pod(mine, node=scene.node)
    own, acting = here.call(token), here.act(proxy, mine)
    assert {scene.code(own), scene.code(acting)} == {"OK"}
    scene.relay.hold()
    scene.end_watches()
    try:
        until(lambda: scene.relay.waiting, deadline=LIMIT, what="the list to be asked for")
        here.kube.delete_pod(SHOP, gone)
        here.kube.delete_pod(SHOP, workload)
        assert {scene.code(own), scene.code(acting)} == {"OK"}, "what is known serves on"
        assert scene.code(here.act(proxy, "nobody")) == "UNAVAILABLE", "who is not known may have started meanwhile"
    finally:
        scene.relay.release()
    until(lambda: scene.code(own) != "OK", deadline=LIMIT, what="the new list")
    assert {scene.code(own), scene.code(acting)} == {"UNAUTHENTICATED"}
    assert scene.code(here.call(stays)) == "OK"
