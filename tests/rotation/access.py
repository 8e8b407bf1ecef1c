"""Accounts with the rights of deploy/rbac, in a namespace that stands for istio-system."""

from pathlib import Path

import yaml

from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.poll import until
from tests.cluster.rbac import allowed
from tests.e2e.command import ROOT

OPERATOR = "istio-signer-operator"


def roles(manifest: str, namespace: str) -> list[Manifest]:
    """The objects of a manifest, moved to a namespace, under names of its own where they have none."""
    text = (ROOT / "deploy/rbac" / f"{manifest}.yaml").read_text()
    moved = text.replace("namespace: istio-system", f"namespace: {namespace}")
    return [*yaml.safe_load_all(moved.replace(f"name: istio-signer-{manifest}", f"name: {manifest}-{namespace}"))]


def account(kube: Kube, path: Path, namespace: str, name: str, *manifests: str) -> Path:
    """A kubeconfig of an account with the rights of these manifests, once they count."""
    kube.create_service_account(namespace, name)
    for manifest in manifests:
        found = roles(manifest, namespace)
        kube.apply(found, namespace)
        for role in found:
            if role["kind"].endswith("Role"):
                _await(kube, namespace, name, role)
    return kube.write_kubeconfig(path, namespace, name)


def _await(kube: Kube, namespace: str, name: str, role: Manifest) -> None:
    rule = role["rules"][0]
    wish = {
        "verb": rule["verbs"][0],
        "group": rule["apiGroups"][0],
        "resource": rule["resources"][0],
        "name": next(iter(rule.get("resourceNames", [])), ""),
        "namespace": role["metadata"].get("namespace", ""),
    }
    until(lambda: allowed(kube, namespace, name, wish), deadline=10, what=f"the right to {wish}")
