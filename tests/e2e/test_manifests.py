"""The plain manifests: a real API server takes them, and their rights are what the signer needs, and no more."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Kube
from tests.cluster.client import ApiError, Manifest
from tests.cluster.poll import until
from tests.cluster.rbac import allowed
from tests.e2e.command import ROOT, istio_signer
from tests.e2e.conftest import Ca, NewWorkload
from tests.e2e.process import SignerProcess
from tests.mesh.x509_strict import verify_strict

pytestmark = pytest.mark.timeout(120)

FOLDER = ROOT / "deploy" / "manifests"
# Not the operator's, who is another account: tests/rotation acts with those.
RBAC = [path for path in sorted((ROOT / "deploy" / "rbac").glob("*.yaml")) if path.stem != "rotate-root"]
PLACE, ACCOUNT = "istio-system", "istio-signer"
FORBIDDEN = [
    ("list", "", "pods"),
    ("list", "", "secrets"),
    ("get", "", "secrets"),
    ("create", "", "configmaps"),
    ("create", "", "serviceaccounts/token"),
    ("list", "", "namespaces"),
    ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ("list", "rbac.authorization.k8s.io", "clusterroles"),
]


def documents() -> list[Manifest]:
    """All objects, kustomize's own file left out."""
    files = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    return [document for path in files for document in yaml.safe_load_all(path.read_text()) if document]


@pytest.fixture(scope="module")
def applied(kube: Kube) -> dict[str, Manifest]:
    """What the API server has stored, by kind."""
    kube.create_namespace(PLACE)
    return {stored["kind"]: stored for stored in kube.apply(documents(), PLACE)}


@pytest.fixture
def access(applied: dict[str, Manifest], kube: Kube, tmp_path: Path) -> Path:
    """The access of a pod of the manifests."""
    return kube.write_kubeconfig(tmp_path / "kubeconfig", PLACE, ACCOUNT)


@pytest.fixture
def config(applied: dict[str, Manifest], access: Path, ca: Ca, tmp_path: Path) -> Path:
    """The ConfigMap's configuration, with the paths and ports of this machine and nothing else changed."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(adapted(applied["ConfigMap"]["data"]["config.yaml"], access, ca, tmp_path)))
    return path


def adapted(text: str, access: Path, ca: Ca, folder: Path) -> dict[str, Any]:
    """Replace what only makes sense inside a pod."""
    content: dict[str, Any] = yaml.safe_load(text)
    content["listen"] = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"}
    content["clusters"][0]["kubeconfig"] = str(access)
    content["backends"]["local"]["directory"] = str(ca.directory)
    content["logging"]["audit"] = str(folder / "audit.jsonl")
    return content


def test_every_object_is_stored(applied: dict[str, Manifest]) -> None:
    wanted = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Service"}
    assert wanted <= applied.keys()


def test_server_side_apply_drops_no_field(applied: dict[str, Manifest]) -> None:
    """A misspelt field would vanish without a word."""
    for document in documents():
        assert missing(document, applied[document["kind"]]) == []


def missing(wanted: Any, stored: Any, path: str = "") -> list[str]:
    """Where the stored object lacks something that the manifest has."""
    if isinstance(wanted, dict):
        gone = [f"{path}.{key}" for key in wanted if key not in (stored or {})]
        return gone + [
            each for key in wanted if key in stored for each in missing(wanted[key], stored[key], f"{path}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(stored, list):
        pairs = zip(wanted, stored, strict=False)
        return [each for i, (one, other) in enumerate(pairs) for each in missing(one, other, f"{path}[{i}]")]
    return []


def test_rights_suffice_and_are_least(applied: dict[str, Manifest], kube: Kube) -> None:
    review = {"verb": "create", "group": "authentication.k8s.io", "resource": "tokenreviews"}
    assert allowed(kube, PLACE, ACCOUNT, review)
    for verb, group, resource in FORBIDDEN:
        name, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": PLACE}
        assert not allowed(kube, PLACE, ACCOUNT, attributes), attributes
    assert applied["ClusterRole"]["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]


def test_the_account_itself_is_refused_more(access: Path) -> None:
    with Kube.load(access) as signer:
        for kind in ("Pod", "Secret"):
            with pytest.raises(ApiError) as refusal:
                signer.list_all("v1", kind, PLACE)
            assert refusal.value.status == 403


@pytest.mark.parametrize("path", RBAC, ids=lambda path: path.stem)
def test_rights_for_more_than_the_least(applied: dict[str, Manifest], kube: Kube, path: Path) -> None:
    """Each rule counts for the account that it is meant for, and every field has been understood."""
    documents = [*yaml.safe_load_all(path.read_text())]
    (account,) = {subject["name"] for each in documents for subject in each.get("subjects", [])}
    stored = kube.apply(documents, PLACE)
    assert [missing(*pair) for pair in zip(documents, stored, strict=True)] == [[] for _ in documents]
    for role in (each for each in documents if each["kind"] in ("Role", "ClusterRole")):
        for rule in role["rules"]:
            for wanted in _wanted(rule, role["metadata"].get("namespace", "")):
                asked = partial(allowed, kube, PLACE, account, wanted)
                until(asked, deadline=10, what=f"{wanted} to be allowed")


def _wanted(rule: Manifest, namespace: str) -> Iterator[Manifest]:
    """The attributes of everything that a rule allows, for an access review."""
    (resource,), (group,) = rule["resources"], rule["apiGroups"]
    name, _, subresource = resource.partition("/")
    what = {"group": group, "resource": name, "subresource": subresource, "namespace": namespace}
    for verb in rule["verbs"]:
        yield {**what, "name": rule.get("resourceNames", [""])[0], "verb": verb}


def test_check_finds_nothing(config: Path) -> None:
    done = istio_signer("check", "--config", config, "--live")

    assert done.code == 0, done.out
    assert "warning" not in done.out


def test_a_certificate_is_issued(config: Path, ca: Ca, new_workload: NewWorkload, tmp_path: Path) -> None:
    workload = new_workload()
    name = yaml.safe_load(config.read_text())["serving"]["dns_names"][0]
    with SignerProcess(tmp_path, ["--config", config], ca.roots) as signer:
        credential = workload.obtain(signer, "-server-name", name, shape="agent")
        verify_strict(credential.chain, "sslserver")


def test_service_leads_to_the_ports_of_the_container(applied: dict[str, Manifest]) -> None:
    pod = applied["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listen = yaml.safe_load(applied["ConfigMap"]["data"]["config.yaml"])["listen"]

    assert ports == {name: int(address.rpartition(":")[2]) for name, address in listen.items() if address}
    assert {port["targetPort"] for port in applied["Service"]["spec"]["ports"]} <= ports.keys() | set(ports.values())
    assert applied["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    probes = [container[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [("/livez", "http"), ("/readyz", "http")]


def test_what_the_configuration_names_is_mounted(applied: dict[str, Manifest]) -> None:
    (container,) = applied["Deployment"]["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    config = yaml.safe_load(applied["ConfigMap"]["data"]["config.yaml"])

    assert config["backends"]["local"]["directory"] == mounts["ca"]
    assert container["args"] == ["serve", "--config", f"{mounts['config']}/config.yaml"]


def test_examples_can_be_loaded(tmp_path: Path, ca: Ca) -> None:
    """Their files do not exist here, so only the configuration itself is judged."""
    examples = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
    assert examples
    for example in examples:
        findings = istio_signer("check", "--config", example, "-o", "json").json()
        complaints = [finding for finding in findings if finding["where"] == "configuration"]
        assert [finding["level"] for finding in complaints] == ["ok"], complaints
