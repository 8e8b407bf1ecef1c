"""``explain`` about client certificates, as the port for them judges; and options that do not fit together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.explaining import Desk, explaining
from tests.server.sides import PROXIES, Side
from tests.support.pki import Ca, key, leaf_extensions, make_ca, make_leaf, spki


@pytest.fixture
def desk(kube: Kube, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    with explaining(Side("Kubernetes", kube, cluster), tmp_path, "review", capsys) as at_work:
        yield at_work


def _certified(desk: Desk, account: str = "shop/sa/cart", issuer: Ca | None = None) -> tuple[Ca, tuple[str, ...]]:
    """A certificate, with the command's options; the desk has one cluster, the port, and the CA unless one is given."""
    cluster = {"id": desk.near.name, "kubeconfig": str(desk.place / f"kubeconfig-{desk.near.name}")}
    desk.more |= {"listen": {"mtls": "127.0.0.1:0"}, "clusters": [cluster]}
    issuer, private = issuer or cas.issuer(desk.place / "ca"), key("p256/client")
    extensions = leaf_extensions(f"spiffe://cluster.local/ns/{account}")
    leaf = Ca(make_leaf(issuer, spki(private), extensions, window=cas.around_now()), private)
    path = desk.place / "chain.pem"
    path.write_bytes(leaf.pem + issuer.pem)
    return leaf, ("--certificate-file", str(path))


def test_a_certificate_is_judged_as_on_its_port(desk: Desk) -> None:
    """It proves no pod, and is denied by its serial."""
    leaf, options = _certified(desk)
    code, facts = desk.explain(*options)
    assert (code, facts["decision"], facts["proven_by"]) == (0, "would sign", "client-certificate")
    assert (facts["identity"], facts["cluster"], facts["pod"]) == (
        "spiffe://cluster.local/ns/shop/sa/cart",
        "Kubernetes",
        None,
    )
    serial = f"{leaf.certificate.serial_number:x}"
    (desk.place / "deny.yaml").write_text(f"[{{serial: '{serial}', reason: stolen}}]")
    desk.more["deny"] = {"file": str(desk.place / "deny.yaml")}
    code, told = desk.explain(*options)
    assert (code, told["error"], told["reason"]) == (1, "PolicyDenied", f"denied: serial {serial} (stolen)")


def test_a_strangers_certificate(desk: Desk) -> None:
    """For the same name."""
    _, options = _certified(desk, issuer=make_ca("stranger", window=cas.around_now()))
    code, told = desk.explain(*options)
    assert (code, told["error"]) == (1, "AuthenticationFailed")
    assert told["reason"].startswith("client certificate: path: "), told


def test_a_nodes_proxy_acts_by_its_token_alone(desk: Desk) -> None:
    """Its certificate says on which node it runs to nobody."""
    _, options = _certified(desk, f"{PROXIES}/sa/ztunnel")
    assert "--impersonate goes with --token-file" in desk.misused(*options, "--impersonate", desk.workload("cart"))


def test_what_does_not_fit_together(desk: Desk) -> None:
    """It is said at which option, with the code of a misuse."""
    _, options = _certified(desk)
    identity = desk.near.identity("cart")
    assert "--impersonate goes with --token-file" in desk.misused("--identity", identity, "--impersonate", identity)
    assert "--pod-label goes with --identity" in desk.misused(*options, "--pod-label", "a=b")
    assert "--proven-by goes with --identity" in desk.misused(*options, "--proven-by", "offline")
    assert "--certificate-file" in desk.misused("--certificate-file", str(desk.place / "none"))
    (desk.place / "chain.pem").write_text("no certificate")
    assert "--certificate-file" in desk.misused(*options)
    del desk.more["listen"]
    assert "listen.mtls, which is not set" in desk.misused(*options)
