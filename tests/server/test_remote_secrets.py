"""Istio's remote secrets in a real API server: clusters that come, change, break and go under a server at work."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.sides import PROXIES, SHOP, SIGNER, Side, document, pieces, put_secret

SOON = 8.0
"""Seconds in which whatever happens to a Secret must have come to callers."""


@dataclass(slots=True)
class Scene:
    """A signer of the local cluster, and a namespace of its own for the Secrets."""

    near: Side
    far: Side
    server: Running
    namespace: str
    place: Path
    seen: list[str]

    def code(self, side: Side, cluster: str | None = None) -> str:
        """What a caller with a new token is told."""
        return self.server.send(side.call(side.token("cart"), cluster=cluster)).code

    def becomes(self, code: str, cluster: str = "far") -> None:
        """Callers of the other cluster are told so within seconds; those of the local one are served all the time."""
        until(lambda: self.code(self.far, cluster) == code, deadline=SOON, what=f"{cluster}: {code}")
        assert self.code(self.near) == "OK"

    def stays(self, code: str, cluster: str = "far") -> None:
        """Each of some calls in a row is told so."""
        assert {self.code(self.far, cluster) for _ in range(5)} == {code}
        assert self.code(self.near) == "OK"

    def put(self, text: str, cluster: str = "far", secret: str = "one", label: str = "true") -> None:
        """Write a Secret."""
        put_secret(self.near.kube, self.namespace, secret, {cluster: text}, label)

    def delete(self, secret: str = "one") -> None:
        """Remove one."""
        self.near.kube.delete("v1", "Secret", secret, self.namespace)

    def good(self, account: str = "signer") -> str:
        """A kubeconfig for the other cluster that works."""
        access = self.far.access(account)
        self.seen += pieces(access)
        return yaml.safe_dump(document(access, self.place))

    def edited(self, change: Callable[[dict[str, Any]], None]) -> str:
        """One that does not."""
        content = yaml.safe_load(self.good())
        change(content)
        return yaml.safe_dump(content)

    def reports(self, part: str) -> None:
        """The verbose report comes to hold this."""
        until(lambda: part in self.report(), deadline=SOON, what=f"{part!r} in the report", interval=0.1)

    def report(self) -> str:
        """The verbose report."""
        return self.server.http("/readyz?verbose")[1]


def _dead(content: dict[str, Any]) -> None:
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"


def _runs_a_command(content: dict[str, Any]) -> None:
    content["users"][0]["user"] = {"exec": {"command": "touch", "apiVersion": "client.authentication.k8s.io/v1"}}


def _bad_token(content: dict[str, Any]) -> None:
    content["users"][0]["user"]["token"] = "no-such-token-of-anybody-in-there"


BROKEN: dict[str, Callable[[Scene], tuple[str, str]]] = {
    "no YAML": lambda scene: ("{ [", "no kubeconfig"),
    "nobody there": lambda scene: (scene.edited(_dead), "no connection"),
    "a command": lambda scene: (scene.edited(_runs_a_command), "users.0.user.exec: not allowed"),
    "a bad token": lambda scene: (scene.edited(_bad_token), "HTTP 401"),
}


@pytest.fixture(params=["review", "offline"])
def scene(
    request: pytest.FixtureRequest, loops: LoopThread, kube: Kube, cluster: Cluster, far: Side, tmp_path: Path
) -> Iterator[Scene]:
    near, namespace = Side("Kubernetes", kube, cluster), f"remote-{uuid.uuid4().hex[:8]}"
    kube.create_namespace(SHOP)
    kube.create_namespace(namespace)
    config = configuration(
        cas.init(tmp_path / "ca"),
        clusters=[{"id": near.name, "kubeconfig": str(near.kubeconfig(tmp_path))}],
        remote_secrets={"enabled": True, "namespace": namespace, "tokens": request.param},
        authentication={"cache": "0s", "timeout": "2s"},
        ambient={"trusted_node_accounts": [f"{PROXIES}/ztunnel"]},
    )
    with running(loops, tmp_path, config, mint=lambda: near.token("cart")) as server:
        at_work = Scene(near, far, server, namespace, tmp_path, [])
        yield at_work
        text = server.log.text() + server.audit.text() + at_work.report()
    assert not [piece for piece in at_work.seen if piece in text], "a credential was shown"
    assert "no-such-token" not in text


def test_comes_and_goes(scene: Scene) -> None:
    assert scene.code(scene.far) == "UNAUTHENTICATED"
    scene.put(scene.good())
    scene.becomes("OK")
    scene.reports("cluster far: connected\n")
    assert 'istio_signer_remote_cluster_ready{cluster="far"} 1.0' in scene.server.http("/metrics")[1]
    scene.stays("OK")
    assert scene.code(scene.near, "far") == "UNAUTHENTICATED", "its own tokens alone"
    scene.delete()
    scene.becomes("UNAUTHENTICATED")
    scene.stays("UNAUTHENTICATED")
    assert "cluster far" not in scene.report()


def test_a_secret_without_the_label_is_none(scene: Scene) -> None:
    """From the start, and from the moment that it loses it; another one's coming shows that it was seen by then."""
    text = scene.good()
    scene.put(text, "unlabelled", "a", label="false")
    scene.put(text)
    scene.becomes("OK")
    scene.stays("UNAUTHENTICATED", "unlabelled")
    scene.put(text, label="false")
    scene.becomes("UNAUTHENTICATED")
    assert not [name for name in ("cluster far", "unlabelled") if name in scene.report()]


def test_its_nodes_proxies_act_for_its_pods(scene: Scene) -> None:
    scene.put(scene.good())
    scene.becomes("OK")
    account, node = f"act-{uuid.uuid4().hex[:6]}", f"node-{uuid.uuid4().hex[:6]}"
    token = scene.far.token("ztunnel", node=node, namespace=PROXIES)
    scene.near.pod(account, node=node)
    assert scene.server.send(scene.far.act(token, account)).code == "UNAUTHENTICATED"
    scene.far.pod(account, node=node)
    assert scene.server.send(scene.far.act(token, account)).code == "OK"
    scene.put(scene.good("signer-next"))
    for _ in range(20):
        assert scene.server.send(scene.far.act(token, account)).code == "OK", "the new connection takes over"


def test_a_rotated_token_interrupts_nobody(scene: Scene) -> None:
    scene.put(scene.good("rotated"))
    scene.becomes("OK")
    scene.put(scene.good("rotated-next"))
    for _ in range(20):
        assert scene.code(scene.far) == "OK"
    scene.far.kube.delete("v1", "ServiceAccount", "rotated", SIGNER)
    scene.stays("OK")
    scene.reports("cluster far: connected\n")


@pytest.mark.parametrize("case", BROKEN)
def test_broken_from_the_start(scene: Scene, case: str) -> None:
    """Callers are told to come back; nobody else notices; and it works as soon as it is mended."""
    scene.put(scene.good("other"), "third", "three")
    text, fault = BROKEN[case](scene)
    scene.put(text)
    scene.becomes("UNAVAILABLE")
    scene.becomes("OK", "third")
    scene.reports(fault)
    scene.stays("UNAVAILABLE")
    scene.put(scene.good())
    scene.becomes("OK")
    scene.reports("cluster far: connected\n")


@pytest.mark.parametrize("case", BROKEN)
def test_broken_later(scene: Scene, case: str) -> None:
    """What works stays."""
    scene.put(scene.good())
    scene.becomes("OK")
    text, fault = BROKEN[case](scene)
    scene.put(text)
    scene.reports(fault)
    scene.stays("OK")
    scene.delete()
    scene.becomes("UNAUTHENTICATED")
