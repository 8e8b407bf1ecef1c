"""``istio-signer explain`` against real API servers: a cluster that a remote secret names, and one that is down."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from signer.cli.main import main
from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.sides import PROXIES, SHOP, Side, document, put_secret

pytestmark = pytest.mark.timeout(120)
SECRETS = "explained"
"""The namespace of the remote secrets."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A configuration file's contents, and two clusters."""

    near: Side
    far: Side
    place: Path
    config: dict[str, Any]

    def explain(self, token: str, *options: str, **over: Any) -> int:
        """Have the command judge a token; give its exit code."""
        path, given = self.place / "config.yaml", self.place / "token"
        path.write_text(yaml.safe_dump({**self.config, **over}))
        given.write_text(token)
        return main(["explain", "--config", str(path), "--token-file", str(given), *options, "-o", "json"])


@pytest.fixture
def desk(cluster: Cluster, kube: Kube, far: Side, tmp_path: Path) -> Desk:
    near = Side("near", kube, cluster)
    for namespace in (SHOP, SECRETS):
        kube.create_namespace(namespace)
    put_secret(kube, SECRETS, "one", {"far": yaml.safe_dump(document(far.access("signer"), tmp_path))})
    config = {
        "backends": {"local": {"type": "local", "directory": str(cas.init(tmp_path / "ca"))}},
        "clusters": [{"id": "near", "kubeconfig": str(near.kubeconfig(tmp_path))}],
        "ambient": {"trusted_node_accounts": [f"{PROXIES}/ztunnel"]},
        "remote_secrets": {"enabled": True, "namespace": SECRETS, "tokens": "offline"},
    }
    return Desk(near, far, tmp_path, config)


def _said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_a_cluster_of_a_remote_secret(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Its issuer, its pods and its keys are learnt first, and then its word is what it would be for a server."""
    far = desk.far
    assert desk.explain(far.token("cart"), "--cluster-id", "far") == 0
    assert _said(capsys)["caller"] == far.identity("cart")
    assert desk.explain(desk.near.token("cart"), "--cluster-id", "far") == 1
    assert "offline token: " in _said(capsys)["reason"], "a key or an issuer of another cluster"


def test_acting_for_a_pod_of_such_a_cluster(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    far = desk.far
    far.pod("cart", node="node-7")
    proxy, acting = far.token("ztunnel", node="node-7", namespace=PROXIES), ("--impersonate", far.identity("cart"))
    assert desk.explain(proxy, "--cluster-id", "far", *acting) == 0
    assert _said(capsys)["identity"] == far.identity("cart")
    elsewhere = far.token("ztunnel", node="node-8", namespace=PROXIES)
    assert desk.explain(elsewhere, "--cluster-id", "far", *acting) == 1
    assert "node-8" in _said(capsys)["reason"]


@pytest.mark.parametrize(("mesh", "own", "code"), [([], ["ztunnel"], 0), (["ztunnel"], [], 1), (["ztunnel"], None, 0)])
def test_whom_a_cluster_trusts(
    mesh: list[str], own: list[str] | None, code: int, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those named for it, in place of the mesh's."""
    far, remote = desk.far, dict(desk.config["remote_secrets"])
    if own is not None:
        remote["trusted_node_accounts"] = [f"{PROXIES}/{name}" for name in own]
    far.pod("cart", node="node-5")
    proxy = far.token("ztunnel", node="node-5", namespace=PROXIES)
    ambient = {"trusted_node_accounts": [f"{PROXIES}/{name}" for name in mesh]}
    options = ("--cluster-id", "far", "--impersonate", far.identity("cart"))
    assert desk.explain(proxy, *options, remote_secrets=remote, ambient=ambient) == code
    assert code == 0 or "is no trusted node account" in _said(capsys)["reason"]


def test_a_denied_proxy_hears_of_that_first(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """As from the server, whatever else is wrong with what it asks for."""
    near, deny = desk.near, desk.place / "deny.yaml"
    deny.write_text(f"[{{identity: 'spiffe://cluster.local/ns/{PROXIES}/sa/ztunnel', reason: stolen}}]")
    proxy = near.token("ztunnel", node="node-9", namespace=PROXIES)
    code = desk.explain(proxy, "--impersonate", near.identity("nobody"), deny={"file": str(deny)})
    told = _said(capsys)
    assert (code, told["code"], told["error"]) == (1, "PERMISSION_DENIED", "PolicyDenied")


def test_another_cluster_that_is_down(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Decides about its own callers only; of those it says why, and nothing of clusters that are well."""
    dead = yaml.safe_load((desk.place / "kubeconfig-near").read_text())
    dead["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (desk.place / "dead").write_text(yaml.safe_dump(dead))
    clusters = [*desk.config["clusters"], {"id": "down", "kubeconfig": str(desk.place / "dead"), "tokens": "offline"}]
    begun = time.monotonic()
    assert desk.explain(desk.near.token("cart"), clusters=clusters, remote_secrets={"enabled": False}) == 0
    assert time.monotonic() - begun < 15.0
    assert _said(capsys)["caller"] == desk.near.identity("cart")
    token = desk.far.token("cart")
    code = desk.explain(token, "--cluster-id", "down", clusters=clusters, remote_secrets={"enabled": False})
    reason = _said(capsys)["reason"]
    assert (code, "near" in reason) == (3, False)
