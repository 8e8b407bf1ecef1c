"""Keys that both kinds of request have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.cert_manager.settings import CertManagerSettings, IssuerRef
from backends.kubernetes_csr.settings import KubernetesCsrSettings

Make = Callable[..., Any]
MAKERS: dict[str, Make] = {
    "cert-manager": lambda **keys: CertManagerSettings(IssuerRef("mesh"), **keys),
    "kubernetes-csr": lambda **keys: KubernetesCsrSettings("example.org/mesh", **keys),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_context_belongs_to_a_file(make: Make) -> None:
    """Without one it would count for nothing, and another cluster be asked."""
    with pytest.raises(ValueError, match="kube_context is a context of kubeconfig"):
        make(kube_context="east")
    assert make(kubeconfig=Path("/k"), kube_context="east").kube_context == "east"
