"""The guide's cert-manager and Kubernetes-CA ways, each leaf by a request: real controllers sign, Envoys use it.

And what that costs the API server, by its own audit log.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, account_kubeconfig
from tests.e2e import seed
from tests.e2e.apilog import ApiLog
from tests.e2e.conftest import NewWorkload
from tests.e2e.process import SignerProcess
from tests.kube_backends.scene import REQUESTS
from tests.kube_backends.test_kubernetes_csr import rules
from tests.mesh.credential import Party
from tests.mesh.pair import MeshPair

pytestmark = pytest.mark.timeout(180)

SIGNER = f"clusterissuers.cert-manager.io/{seed.ISSUER}"
WAYS: dict[str, tuple[str, str, list[Manifest]]] = {
    "cert-manager": ("cert-manager.io/v1", "CertificateRequest", [REQUESTS]),
    "kubernetes-csr": ("certificates.k8s.io/v1", "CertificateSigningRequest", rules(SIGNER)),
}


@pytest.fixture(scope="module")
def root(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's ClusterIssuer; gives its root's file."""
    return seed.make_issuer(kube, tmp_path_factory.mktemp("seed"))


def backend(way: str, namespace: str, root: Path) -> dict[str, Any]:
    """The section of the configuration."""
    if way == "kubernetes-csr":
        return {"type": way, "signer_name": SIGNER, "approve": True, "roots_file": str(root)}
    return {"type": way, "issuer": {"name": seed.ISSUER, "kind": "ClusterIssuer"}, "namespace": namespace}


@contextmanager
def running(way: str, kube: Kube, namespace: str, root: Path, folder: Path) -> Iterator[SignerProcess]:
    """A signer that signs this way, with the rights that it takes and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    rights = [CREATE_TOKEN_REVIEWS, *WAYS[way][2]]
    kubeconfig = account_kubeconfig(kube, folder / "kubeconfig", namespace, "signer", rights)
    config = {
        "listen": {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
        "clusters": [{"id": "Kubernetes", "kubeconfig": str(kubeconfig)}],
        "serving": {"dns_names": [], "ip_addresses": ["127.0.0.1"]},
        "backends": {namespace: backend(way, namespace, root)},
        "logging": {"audit": str(folder / "audit.jsonl")},
        "shutdown": {"delay": "200ms", "grace": "5s"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with ExitStack() as stack:
        yield stack.enter_context(SignerProcess(folder, ["--config", folder / "config.yaml"], root))


def left(kube: Kube, way: str, namespace: str) -> int:
    """How many of the signer's requests are there."""
    api_version, kind, _ = WAYS[way]
    return len(kube.list_all(api_version, kind, "", f"istio-signer.io/backend={namespace}"))


@pytest.mark.parametrize("way", WAYS)
def test_certificates_flow_to_envoys_and_nothing_is_left(
    way: str, kube: Kube, namespace: str, root: Path, new_workload: NewWorkload, tmp_path: Path
) -> None:
    front, stock = new_workload("front"), new_workload("stock")
    with running(way, kube, namespace, root, tmp_path / "signer") as signer:
        client = Party(front.spiffe_id, stock.spiffe_id, front.obtain(signer, shape="agent"))
        server = Party(stock.spiffe_id, front.spiffe_id, stock.obtain(signer))
        with MeshPair(client, server, tmp_path / "mesh") as mesh:
            reply = mesh.get("/")
            assert (reply.status, reply.headers["x-client-id"]) == (200, front.spiffe_id)
        # The guide's own test of who has issued a certificate.
        (tmp_path / "leaf.pem").write_text(server.credential.chain[0])
        said = seed.shell("openssl x509 -in leaf.pem -text -noout | grep Issuer", tmp_path)
        assert "example.com" in said
        assert signer.terminate() == 0
    assert left(kube, way, namespace) == 0


@pytest.mark.parametrize("way", WAYS)
def test_what_a_killed_signer_leaves_is_swept_by_the_next_one(
    way: str, kube: Kube, namespace: str, root: Path, new_workload: NewWorkload, tmp_path: Path
) -> None:
    workload = new_workload()
    with running(way, kube, namespace, root, tmp_path / "first") as signer:
        workload.obtain(signer)
        signer.kill()
    assert left(kube, way, namespace) > 0
    with running(way, kube, namespace, root, tmp_path / "second"):
        until(lambda: left(kube, way, namespace) == 0, deadline=100, what="the sweep")


# Writes for one certificate, approval included: creating it, and its share of one deletion.
WRITES = {"cert-manager": 1.3, "kubernetes-csr": 2.3}


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_costs_so_many_calls_and_no_more(
    way: str, kube: Kube, cluster: Cluster, namespace: str, root: Path, new_workload: NewWorkload, tmp_path: Path
) -> None:
    workload, certificates = new_workload(), 60
    with running(way, kube, namespace, root, tmp_path / "signer") as signer:
        result = workload.flood(signer, certificates, "-concurrency", "16", "-warmup", "-1", "-csrs", str(certificates))
        assert (result["ok"], result["errors"]) == (certificates, {})
        until(lambda: left(kube, way, namespace) == 0, deadline=30, what="all requests to be deleted")
    calls = ApiLog(cluster, kube, namespace, "signer").calls()
    writes = [call for call in calls if call.split()[0] in ("create", "update", "patch", "delete", "deletecollection")]
    mine = [call for call in writes if "tokenreviews" not in call]
    # One more for the serving certificate.
    assert len(mine) <= WRITES[way] * (certificates + 1), mine
    reads = [call for call in calls if call.split()[0] in ("get", "list", "watch")]
    assert len(reads) <= 6, reads
