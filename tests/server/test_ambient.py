"""A node's proxy acts for the workloads of its node: real pods, real tokens, a real API server."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster import rbac
from tests.cluster.poll import until
from tests.corpus.build import good_csr
from tests.server import cas
from tests.server.calls import Call, Reply, bearer
from tests.server.loop import LoopThread
from tests.server.review import Review
from tests.server.running import Running, configuration, running
from tests.server.verdicts import Marks, check_refusal, check_success

RIGHTS = [rbac.CREATE_TOKEN_REVIEWS, {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
PROXIES = "ambient-system"


@dataclass
class Node:
    """A node with a proxy, in a cluster where others have theirs."""

    review: Review
    server: Running
    name: str = field(default_factory=lambda: f"node-{uuid.uuid4().hex[:8]}")

    def pod(self, account: str, node: str = "") -> str:
        """Start a workload; give the identity of its account."""
        kube = self.review.kube
        kube.create_namespace("ambient-shop")
        kube.create_service_account("ambient-shop", account)
        kube.create_pod("ambient-shop", f"{account}-{uuid.uuid4().hex[:6]}", account, node or self.name)
        return f"spiffe://cluster.local/ns/ambient-shop/sa/{account}"

    def proxy(self, account: str = "ztunnel") -> str:
        """Start the node's proxy; give its token."""
        kube, name = self.review.kube, f"{account}-{uuid.uuid4().hex[:6]}"
        kube.create_namespace(PROXIES)
        kube.create_service_account(PROXIES, account)
        kube.create_pod(PROXIES, name, account, self.name)
        return kube.pod_token(PROXIES, account, name)

    def call(self, token: str, identity: str) -> Call:
        """What the proxy sends."""
        return Call(good_csr(uri=identity), bearer(token), hints={"ImpersonatedIdentity": identity})

    def ask(self, token: str, identity: str) -> Reply:
        """Send it."""
        return self.server.send(self.call(token, identity))


@pytest.fixture
def node(loops: LoopThread, review: Review, tmp_path: Path) -> Iterator[Node]:
    kubeconfig = rbac.account_kubeconfig(review.kube, tmp_path / "kubeconfig", "istio-system", "ambient", RIGHTS)
    clusters = [{"id": "Kubernetes", "kubeconfig": str(kubeconfig), "aliases": ["cluster-1"]}]
    trusted = {"trusted_node_accounts": [f"{PROXIES}/ztunnel"]}
    config = configuration(cas.init(tmp_path / "ca"), clusters=clusters, ambient=trusted)
    with running(loops, tmp_path, config, mint=review.pod_token) as server:
        yield Node(review, server)


def test_for_the_nodes_own_workloads(node: Node) -> None:
    """The pod may have started a moment ago: the watch is waited for, and nobody is refused for its lag."""
    token = node.proxy()
    for account in ("cart", "till"):
        call = node.call(token, node.pod(account))
        marks = Marks.of(node.server)
        line = check_success(node.server, marks, call, node.server.send(call))
        assert line["impersonated"] is True


def test_not_for_another_nodes(node: Node) -> None:
    """Whoever runs there."""
    token, identity = node.proxy(), node.pod("far", node=f"other-{node.name}")
    marks, call = Marks.of(node.server), node.call(token, identity)
    check_refusal(node.server, marks, call, node.server.send(call), "ImpersonationDenied", "no live pod of it")


def test_not_by_who_is_not_trusted(node: Node) -> None:
    """A workload on the same node."""
    token, identity = node.proxy("not-ztunnel"), node.pod("cart")
    marks, call = Marks.of(node.server), node.call(token, identity)
    check_refusal(node.server, marks, call, node.server.send(call), "ImpersonationDenied", "no trusted node account")


def test_not_for_who_has_gone(node: Node) -> None:
    """Within two seconds of the pod's deletion, and without waiting for a list."""
    token, identity = node.proxy(), node.pod("gone")
    assert node.ask(token, identity).code == "OK"
    for pod in node.review.kube.list_all("v1", "Pod", "ambient-shop"):
        if pod["spec"]["serviceAccountName"] == "gone":
            node.review.kube.delete_pod("ambient-shop", pod["metadata"]["name"])
    until(lambda: node.ask(token, identity).code != "OK", deadline=2.0, what="the proxy to be refused")
    assert node.ask(token, identity).code == "UNAUTHENTICATED"


def test_an_alias_is_the_cluster(node: Node) -> None:
    """And another name is none."""
    token, identity = node.proxy(), node.pod("cart")
    call = node.call(token, identity)
    assert node.server.send(Call(call.csr, call.authorization, ("cluster-1",), hints=call.hints)).code == "OK"
    assert node.server.send(Call(call.csr, call.authorization, ("cluster-2",), hints=call.hints)).code == (
        "UNAUTHENTICATED"
    )
