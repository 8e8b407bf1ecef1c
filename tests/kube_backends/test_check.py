"""`istio-signer check --live` for backends of the cluster: what is missing is named, with the command that gives it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backends.cert_manager import check as cert_manager
from backends.cert_manager.settings import CertManagerSettings, ConfigMapRef, IssuerRef
from backends.kubernetes_csr import spec as kubernetes_csr
from backends.kubernetes_csr.settings import KubernetesCsrSettings
from signer.core.spec import BackendContext, Finding, NoAnswer
from tests.cluster.api import Kube
from tests.cluster.rbac import account_kubeconfig
from tests.kube_backends.scene import CLOCK, REQUESTS, access, make_issuer
from tests.kube_backends.test_kubernetes_csr import DOMAIN, rules
from tests.support.kubeconfig import kubeconfig as dead_kubeconfig

READ_ISSUERS = {"apiGroups": ["cert-manager.io"], "resources": ["issuers"], "verbs": ["get"]}
CONTEXT = BackendContext("cm", CLOCK)


def levels(findings: list[Finding]) -> list[str]:
    """How bad each is."""
    return [finding.level for finding in findings]


async def of_cert_manager(kubeconfig: Path, namespace: str, **more: Any) -> list[Finding]:
    """What is found of the Issuer `mesh`."""
    settings = CertManagerSettings(IssuerRef(more.pop("issuer", "mesh")), namespace, kubeconfig=kubeconfig, **more)
    return await cert_manager.check_live(settings, CONTEXT)


async def test_all_is_well(kube: Kube, namespace: str, tmp_path: Path) -> None:
    make_issuer(kube, namespace)
    found = await of_cert_manager(access(kube, tmp_path, namespace, REQUESTS, READ_ISSUERS), namespace)
    assert levels(found) == ["ok", "ok"]
    assert "Issuer mesh is ready" in found[1].text


async def test_least_rights_are_enough(kube: Kube, namespace: str, tmp_path: Path) -> None:
    make_issuer(kube, namespace)
    found = await of_cert_manager(access(kube, tmp_path, namespace), namespace)
    assert levels(found) == ["ok", "ok"]
    assert "may not be read by this account, as it need not be" in found[1].text


@pytest.mark.parametrize(
    ("verbs", "level"),
    [
        (["get", "list", "watch", "delete", "deletecollection"], "error"),
        (["create", "get", "list", "watch", "delete"], "warning"),
    ],
)
async def test_missing_rights_come_with_the_command(
    kube: Kube, namespace: str, tmp_path: Path, verbs: list[str], level: str
) -> None:
    found = await of_cert_manager(access(kube, tmp_path, namespace, {**REQUESTS, "verbs": verbs}), namespace)
    missing = "create" if level == "error" else "deletecollection"
    assert (found[0].level, f"may not {missing} certificaterequests" in found[0].text) == (level, True)
    await pasted(kube, namespace, found[0], lambda: of_cert_manager(tmp_path / "kubeconfig", namespace))


Again = Callable[[], Awaitable[list[Finding]]]


async def pasted(kube: Kube, namespace: str, missing: Finding, again: Again) -> None:
    """What a fix pipes into kubectl gives the rights that were missing, on top of a role that may be there already."""
    head, _, rest = missing.fix.partition("\n")
    assert head == "kubectl apply -f - <<'EOF'"
    text, end = rest.removesuffix("EOF"), rest[-4:]
    assert end == "\nEOF"
    ours = f"{{kind: ServiceAccount, name: signer, namespace: {namespace}}}"
    kube.apply(text.replace("{kind: ServiceAccount, name: istio-signer, namespace: istio-system}", ours))
    for _ in range(100):
        mended = [finding for finding in await again() if finding.where == missing.where]
        if levels(mended) == ["ok"]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(mended)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside the requests", "in another namespace"])
async def test_a_config_map_that_may_not_be_followed(
    kube: Kube, namespace: str, tmp_path: Path, elsewhere: bool
) -> None:
    place = f"{namespace}-config" if elsewhere else namespace
    kube.create_namespace(place)
    followed = ConfigMapRef("runtime", place)
    kubeconfig = account_kubeconfig(kube, tmp_path / "kubeconfig", namespace, "signer", (REQUESTS,))

    async def again() -> list[Finding]:
        return await of_cert_manager(kubeconfig, namespace, runtime_config_map=followed)

    requests, config_map, _ = await again()
    assert (requests.level, config_map.level, config_map.where) == ("ok", "error", "backends.cm.runtime_config_map")
    assert f"list configmaps runtime in {place}" in config_map.text
    assert 'resourceNames: ["runtime"]' in config_map.fix, "no other ConfigMap"
    await pasted(kube, namespace, config_map, again)
    assert levels((await again())[:2]) == ["ok", "ok"], "the one grant takes nothing from the other"


async def test_an_issuer_that_is_not_there_or_not_ready(kube: Kube, namespace: str, tmp_path: Path) -> None:
    kubeconfig = access(kube, tmp_path, namespace, REQUESTS, READ_ISSUERS)
    (_, absent) = await of_cert_manager(kubeconfig, namespace, issuer="absent")
    assert (absent.level, "there is no Issuer absent" in absent.text) == ("error", True)
    issuer: dict[str, Any] = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "broken"}}
    kube.apply({**issuer, "spec": {"ca": {"secretName": "no-such-secret"}}}, namespace)
    (_, broken) = await of_cert_manager(kubeconfig, namespace, issuer="broken")
    assert (broken.level, "is not ready" in broken.text) == ("error", True)


async def test_no_answer_is_no_fault_of_the_configuration(tmp_path: Path) -> None:
    found = await of_cert_manager(dead_kubeconfig(tmp_path / "k", "http://127.0.0.1:9", "x"), "mesh")
    assert all(isinstance(finding, NoAnswer) for finding in found if finding.level == "error")
    assert "error" in levels(found)


async def of_csr(kubeconfig: Path, name: str) -> list[Finding]:
    """What is found of a ClusterIssuer's signer."""
    settings = KubernetesCsrSettings(f"{DOMAIN}/{name}", approve=True, kubeconfig=kubeconfig)
    return await kubernetes_csr.check_live(settings, CONTEXT)


async def test_the_kubernetes_csr_api(kube: Kube, namespace: str, tmp_path: Path) -> None:
    found, gate = await of_csr(access(kube, tmp_path, namespace, *rules(f"{DOMAIN}/{namespace}")), namespace)
    assert found.level == "ok"
    assert (gate.level, "ExperimentalCertificateSigningRequestControllers=true" in gate.text) == ("warning", True)


async def test_approving_for_another_signer_is_missing_and_said(kube: Kube, namespace: str, tmp_path: Path) -> None:
    found, _ = await of_csr(access(kube, tmp_path, namespace, *rules(f"{DOMAIN}/other")), namespace)
    assert (found.level, f"approve signers.certificates.k8s.io {DOMAIN}/{namespace}" in found.text) == ("error", True)
    assert f'resourceNames: ["{DOMAIN}/{namespace}"]' in found.fix
    await pasted(kube, namespace, found, lambda: of_csr(tmp_path / "kubeconfig", namespace))
