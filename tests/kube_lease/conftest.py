"""An account with the rights that electing takes and no others."""

from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.rbac import grant

ACCOUNT = "istio-signer"
RIGHTS: Manifest = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "verbs": ["get", "create", "update"],
}


@pytest.fixture
def bare_kubeconfig(kube: Kube, namespace: str, tmp_path: Path) -> Path:
    """Acts as the account, which has no rights yet."""
    kube.create_service_account(namespace, ACCOUNT)
    return kube.write_kubeconfig(tmp_path / "kubeconfig", namespace, ACCOUNT)


@pytest.fixture
def kubeconfig(kube: Kube, namespace: str, bare_kubeconfig: Path) -> Path:
    """Acts as the account, which may elect in its own namespace."""
    grant(kube, namespace, ACCOUNT, [RIGHTS], cluster_wide=False)
    return bare_kubeconfig
