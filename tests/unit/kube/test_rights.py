"""The commands that give rights: what deploy/rbac gives, no more and no less."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.kube_requests.rights import requests_rights
from signer.kube.rights import Right, grant

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "rbac"
GROUP, PLURAL = "certificates.k8s.io", "certificatesigningrequests"
RIGHTS: dict[str, list[Right]] = {
    "cert-manager": [*requests_rights("cert-manager.io", "certificaterequests", "istio-system")],
    "runtime-config-map": [
        Right(verb, "", "configmaps", "istio-system", name="istio-issuer") for verb in ("list", "watch")
    ],
    "kubernetes-csr": [
        *requests_rights(GROUP, PLURAL),
        Right("update", GROUP, f"{PLURAL}/approval"),
        Right("approve", GROUP, "signers", name="clusterissuers.cert-manager.io/istio-ca"),
    ],
    "pod-labels": [Right("get", "", "pods")],
}


def objects(text: str) -> list[dict[str, Any]]:
    """A role and its binding, without labels."""
    found = [*yaml.safe_load_all(text)]
    for item in found:
        item["metadata"].pop("labels", None)
    return found


# Several roles each; the tests of tests/e2e, tests/kube_istiod and tests/rotation act with exactly what they give.
OF_SEVERAL_ROLES = {"distribution", "istiod-certificate", "rotate-root"}


def test_every_manifest_has_a_case() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == RIGHTS.keys() | OF_SEVERAL_ROLES


@pytest.mark.parametrize("name", RIGHTS)
def test_command_and_manifest_give_the_same(name: str) -> None:
    """A role of another name would stay behind, and its rights with it."""
    command = grant(f"istio-signer-{name}", RIGHTS[name])
    text = command.removeprefix("kubectl apply -f - <<'EOF'\n").removesuffix("\nEOF")
    assert objects(text) == objects((FOLDER / f"{name}.yaml").read_text())
