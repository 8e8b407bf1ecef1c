"""Each way to sign, and what stands behind it. A new backend adds a line, and a file like those beside this one."""

from collections.abc import Callable

from tests.contract import far_kube, far_local, far_vault
from tests.contract.far_side import FarSide, Stage

# Backend type -> the variants of it that the suite runs on.
FAR_SIDES: dict[str, dict[str, Callable[[Stage], FarSide]]] = {
    "local": {"local": far_local.direct, "local-intermediate": far_local.intermediate},
    "vault": {"vault": far_vault.direct, "vault-intermediate": far_vault.intermediate},
    "cert-manager": {
        "cert-manager": far_kube.cert_manager_direct,
        "cert-manager-intermediate": far_kube.cert_manager_intermediate,
    },
    "kubernetes-csr": {"kubernetes-csr": far_kube.csr},
}
VARIANTS: dict[str, Callable[[Stage], FarSide]] = {k: v for variants in FAR_SIDES.values() for k, v in variants.items()}
# These sign from memory, by the key that they hold: nobody there can decide against a request or be slow.
AT_ONCE = {name for name in VARIANTS if name.startswith("local") or name.endswith("intermediate")}
