"""Certificates, rules and quotas for callers of two real clusters: what a real pod's token has brought comes back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.calls import Call, send_over
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.sides import PROXIES, SHOP, Side
from tests.server.verdicts import Marks, check_refusal, check_success
from tests.support.pki import key, key_pem

KEY = "p256/csr"
ROUTES = [
    {"name": "far", "match": {"clusters": ["far"]}, "backends": ["local"]},
    {"name": "rest", "backends": ["local"]},
]
RULES = [
    {"name": "far-banned", "effect": "deny", "clusters": ["far"], "identities": ["spiffe://*/ns/*/sa/banned"]},
    {"name": "no-acting", "effect": "deny", "methods": ["impersonation"], "identities": ["spiffe://*/ns/*/sa/alone"]},
]


@dataclass(frozen=True, slots=True)
class Scene:
    """Servers on one CA, one after another, for two clusters."""

    near: Side
    far: Side
    deny: Path
    start: Callable[..., Running]

    def served(self, server: Running, call: Call, shown: list[str] | None = None) -> tuple[list[str], dict[str, Any]]:
        """The chain, and the audit line."""
        marks, reply = Marks.of(server), self._send(server, call, shown)
        return list(reply.chain), check_success(server, marks, call, reply)

    def refused(
        self, server: Running, call: Call, error: str, reason: str, shown: list[str] | None = None
    ) -> dict[str, Any]:
        """The audit line."""
        marks = Marks.of(server)
        return check_refusal(server, marks, call, self._send(server, call, shown), error, reason)

    @staticmethod
    def _send(server: Running, call: Call, shown: list[str] | None) -> Any:
        """By token, or with a certificate on its port."""
        if shown is None:
            return server.send(call)
        assert server.server.mtls is not None
        chain = "".join(shown[:-1]).encode()
        credentials = grpc.ssl_channel_credentials(server.roots(), key_pem(key(KEY)), chain)
        with grpc.secure_channel(f"127.0.0.1:{server.server.mtls.port}", credentials) as channel:
            return send_over(channel, call)


@pytest.fixture(params=["review", "offline"])
def scene(
    request: pytest.FixtureRequest, loops: LoopThread, kube: Kube, cluster: Cluster, far: Side, tmp_path: Path
) -> Iterator[Scene]:
    near, deny, directory = Side("Kubernetes", kube, cluster), tmp_path / "deny.yaml", cas.init(tmp_path / "ca")
    kube.create_namespace(SHOP)
    deny.write_text("[]")
    clusters = [
        {"id": side.name, "kubeconfig": str(side.kubeconfig(tmp_path)), "tokens": request.param} for side in (near, far)
    ]
    ambient = {"trusted_node_accounts": [f"{PROXIES}/ztunnel"]}
    with ExitStack() as servers:

        def start(name: str = "first", **over: Any) -> Running:
            given = {"listen": {"mtls": "127.0.0.1:0"}, "routes": ROUTES, "rules": RULES, "ambient": ambient, **over}
            config = configuration(directory, clusters=clusters, deny={"file": str(deny)}, **given)
            return servers.enter_context(running(loops, tmp_path / name, config, mint=lambda: near.token("cart")))

        yield Scene(near, far, deny, start)


def _bare(call: Call) -> Call:
    """The same without a token."""
    return replace(call, authorization=())


def test_certificates_count_to_where_they_were_issued(scene: Scene) -> None:
    """In this process; another one knows nothing of it, guesses nothing, and judges the token beside."""
    server = scene.start()
    for side, route in ((scene.near, "rest"), (scene.far, "far")):
        call = side.call(side.token("cart"))
        chain, line = scene.served(server, call)
        assert (line["cluster"], line["route"]) == (side.name, route)
        for _ in range(2):
            chain, line = scene.served(server, _bare(call), chain)
            assert (line["method"], line["cluster"], line["route"]) == ("client-certificate", side.name, route)
    other = scene.start("other")
    asked = "client certificate: route 'far' looks at the cluster"
    scene.refused(other, _bare(call), "AuthenticationFailed", asked, chain)
    _, line = scene.served(other, call, chain)
    assert (line["cluster"], line["route"], line["method"] != "client-certificate") == ("far", "far", True)


def test_a_denied_pod_renews_nothing(scene: Scene) -> None:
    server, far = scene.start(), scene.far
    calls = [far.call(far.token("cart")) for _ in range(2)]
    (stolen, line), (good, _) = (scene.served(server, call) for call in calls)
    mark = server.log.size()
    scene.deny.write_text(f"[{{pod_uid: {line['pod']['uid']}, reason: stolen}}]")
    server.log.await_line(lambda told: "deny list in use" in str(told["message"]), mark, 10.0)
    for shown in (None, stolen):
        scene.refused(server, calls[0], "PolicyDenied", f"pod_uid {line['pod']['uid']}", shown)
    scene.served(server, _bare(calls[1]), good)


def test_rules_by_cluster_and_by_what_is_done(scene: Scene) -> None:
    server, near, far = scene.start(), scene.near, scene.far
    scene.served(server, near.call(near.token("banned"), "banned"))
    scene.refused(server, far.call(far.token("banned"), "banned"), "PolicyDenied", "rule 'far-banned' denies")
    scene.served(server, near.call(near.token("alone", node="node-4"), "alone"))
    proxy = near.token("ztunnel", node="node-4", namespace=PROXIES)
    scene.refused(server, near.act(proxy, "alone"), "PolicyDenied", "rule 'no-acting' denies")


def test_a_quota_for_each_identity(scene: Scene) -> None:
    """Of every pod that has it, and of node proxies that ask for it."""
    server, near = scene.start(quotas={"enabled": True, "identity": {"rate": 0.001, "burst": 2}}), scene.near
    proxy = near.token("ztunnel", node="node-6", namespace=PROXIES)
    scene.served(server, near.call(near.token("busy", node="node-6"), "busy"))
    scene.served(server, near.act(proxy, "busy"))
    scene.refused(server, near.call(near.token("busy"), "busy"), "QuotaExceeded", "identity")
    scene.served(server, near.call(near.token("calm"), "calm"))
