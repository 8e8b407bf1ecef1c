"""Somebody makes pods as large as the API server takes them: that is his own affair, and nobody else's."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.calls import Call
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.sides import PROXIES, SHOP, Side

COUNT = 10
"""More than one page of a list may hold by its bytes."""
SIZE = 1_300_000
"""Characters that take six bytes each in an answer: about 8 MB an object."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster, and the configuration of a signer that follows its pods."""

    here: Side
    config: dict[str, Any]
    namespace: str

    def make(self, name: str) -> None:
        """A huge pod, in a namespace of its maker."""
        spec = {"containers": [{"name": "main", "image": "none", "args": ["<" * SIZE]}], "nodeName": "node-1"}
        metadata = {"name": name, "namespace": self.namespace}
        self.here.kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def served(self, server: Running) -> None:
        """Others start, act for each other, end, and it is known in time."""
        here, node = self.here, f"node-{uuid.uuid4().hex[:6]}"
        pod = here.pod("cart", node=node)
        own = here.call(here.kube.pod_token(SHOP, "cart", pod))
        acting = here.act(here.token("ztunnel", node=node, namespace=PROXIES), "cart")
        assert [_code(server, call) for call in (own, acting)] == ["OK", "OK"]
        here.kube.delete_pod(SHOP, pod)
        until(lambda: _code(server, own) == "UNAUTHENTICATED", deadline=2.0, what="its end to be known")
        assert _code(server, acting) == "UNAUTHENTICATED"


def _code(server: Running, call: Call) -> str:
    return server.send(call).code


@pytest.fixture
def scene(kube: Kube, cluster: Cluster, tmp_path: Path) -> Iterator[Scene]:
    here, namespace = Side("Kubernetes", kube, cluster), f"huge-{uuid.uuid4().hex[:6]}"
    kube.create_namespace(namespace)
    config = configuration(
        cas.init(tmp_path / "ca"),
        clusters=[{"id": here.name, "kubeconfig": str(here.kubeconfig(tmp_path)), "tokens": "offline"}],
        ambient={"trusted_node_accounts": [f"{PROXIES}/ztunnel"]},
    )
    yield Scene(here, config, namespace)
    for number in range(COUNT):
        kube.delete("v1", "Pod", f"huge-{number}", namespace)


@pytest.mark.timeout(180)
def test_huge_pods(scene: Scene, loops: LoopThread, tmp_path: Path) -> None:
    """While a server follows the pods, and where it lists them."""
    with running(loops, tmp_path / "first", scene.config, mint=lambda: scene.here.token("cart")) as server:
        scene.make("huge-0")
        scene.served(server)
        for number in range(1, COUNT):
            scene.make(f"huge-{number}")
        scene.served(server)
        assert "not watched" not in server.http("/readyz?verbose")[1]
    with running(loops, tmp_path / "second", scene.config, mint=lambda: scene.here.token("cart")) as server:
        scene.served(server)
