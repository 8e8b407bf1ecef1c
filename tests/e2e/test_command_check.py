"""`check`: a good configuration, a table of broken ones with file, line and key, and the live question."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, account_kubeconfig, grant
from tests.e2e.command import Done, istio_signer
from tests.e2e.conftest import Ca
from tests.e2e.settings import settings

pytestmark = pytest.mark.timeout(60)


def check(config: Path, *options: str, **variables: str) -> Done:
    """Run `check`."""
    return istio_signer("check", "--config", config, *options, variables=variables)


@pytest.fixture
def good(ca: Ca, kubeconfig: Path, tmp_path: Path) -> Path:
    """A configuration that nothing is wrong with."""
    path = tmp_path / "good.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path, ca.directory, kubeconfig, {}), sort_keys=False))
    return path


def test_good_configuration(good: Path) -> None:
    done = check(good)

    assert (done.code, done.err) == (0, "")
    assert all(line.startswith("ok  ") for line in done.out.splitlines())
    assert "P-256 CA" in done.out


def test_json_is_for_programs(good: Path) -> None:
    findings = check(good, "-o", "json").json()

    assert {finding["level"] for finding in findings} == {"ok"}
    assert all(finding.keys() == {"level", "where", "text"} for finding in findings)


def test_live_question_is_answered(good: Path) -> None:
    done = check(good, "--live")

    assert done.code == 0, done.out
    assert "clusters.0: Kubernetes: tokens can be reviewed" in done.out


def test_live_question_without_the_right(good: Path, kube: Kube, namespace: str, ca: Ca, tmp_path: Path) -> None:
    kube.create_service_account(namespace, "powerless")
    access = kube.write_kubeconfig(tmp_path / "powerless", namespace, "powerless")
    good.write_text(yaml.safe_dump(settings(tmp_path, ca.directory, access, {})))
    done = check(good, "--live")

    assert done.code == 1
    assert "HTTP 403: this account may not create tokenreviews" in done.out
    assert check(good).code == 0, "without --live nobody is asked"


def test_routes_by_labels_take_one_more_right(good: Path, kube: Kube, ca: Ca, tmp_path: Path, namespace: str) -> None:
    """While it is missing no caller is answered; so it must be told before."""
    access = account_kubeconfig(kube, tmp_path / "labels", namespace, "labels")
    routes = [{"match": {"pod_labels": {"tier": "gold"}}, "backends": ["local"]}]
    good.write_text(yaml.safe_dump(settings(tmp_path, ca.directory, access, {"routes": routes})))
    done = check(good, "--live")

    assert done.code == 1
    assert "clusters.0: this account may not get pods" in done.out
    assert "name: istio-signer-pod-labels" in done.out, "the manifest's name"
    get_pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    grant(kube, namespace, "labels", (CREATE_TOKEN_REVIEWS, get_pods))
    assert check(good, "--live").code == 0


DUTIES: dict[str, dict[str, object]] = {
    "distribution": {"distribution": {"enabled": True, "cluster_trust_bundle": True}},
    "istiod": {"istiod": {"enabled": True}},
}
FINDINGS = {"distribution": ("distribution", "distribution.lease_namespace")}
FINDINGS["istiod"] = ("distribution.lease_namespace", "istiod.secret")


@pytest.mark.parametrize("duty", DUTIES)
def test_duties_of_the_leader_take_more_rights(
    good: Path, kube: Kube, ca: Ca, tmp_path: Path, namespace: str, duty: str
) -> None:
    """Each is asked for where the duty is on; what is printed gives it, and nothing else has to be applied."""
    access = account_kubeconfig(kube, tmp_path / "duty", namespace, "duty")
    kube.create_namespace("istio-system")
    good.write_text(yaml.safe_dump(settings(tmp_path, ca.directory, access, DUTIES[duty])))
    done = check(good, "--live", "-o", "json")
    lacking = [finding for finding in done.json() if finding["level"] == "error"]

    assert done.code == 1
    assert tuple(finding["where"] for finding in lacking) == FINDINGS[duty]
    ours = f"{{kind: ServiceAccount, name: duty, namespace: {namespace}}}"
    for finding in lacking:
        text = finding["fix"].removeprefix("kubectl apply -f - <<'EOF'\n").removesuffix("\nEOF")
        theirs = "{kind: ServiceAccount, name: istio-signer, namespace: istio-system}"
        documents = [*yaml.safe_load_all(text.replace(theirs, ours))]
        for document in documents:
            document["metadata"]["name"] += f"-{duty}-{namespace}"
            if "roleRef" in document:
                document["roleRef"]["name"] += f"-{duty}-{namespace}"
        kube.apply(documents)
    until(lambda: check(good, "--live").code == 0, deadline=20, what="the rights to count")
    good.write_text(yaml.safe_dump(settings(tmp_path, ca.directory, access, {})))
    assert "distribution" not in check(good, "--live").out, "who has no duty is asked for nothing"


def test_live_question_that_nobody_answers(good: Path, ca: Ca, tmp_path: Path) -> None:
    access = tmp_path / "nobody"
    access.write_text(
        """{apiVersion: v1, kind: Config, current-context: x,
        clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {token: none}}],
        contexts: [{name: x, context: {cluster: c, user: u}}]}"""
    )
    good.write_text(yaml.safe_dump(settings(tmp_path, ca.directory, access, {})))
    done = check(good, "--live")

    assert done.code == 3, "nothing is wrong but that"
    assert "the API server gives no answer" in done.out

    good.write_text(yaml.safe_dump(settings(tmp_path, tmp_path / "no-ca", access, {})))
    assert check(good, "--live").code == 1, "something else is wrong too"


@dataclass(frozen=True, slots=True)
class Broken:
    """A configuration, the line and key that the complaint must point at, and a part of its text."""

    text: str
    where: str
    says: str


LOCAL = "backends: {local: {type: local, directory: /nowhere}}\n"
BROKEN = {
    "unknown-key": Broken(f"{LOCAL}listen:\n  grcp: 0.0.0.0:1\n", "3: listen.grcp:", "no such key"),
    "unknown-section": Broken(f"{LOCAL}listeners: {{}}\n", "2: listeners:", "no such key"),
    "no-backend": Broken("trust_domain: a.b\n", " backends:", "this key is needed"),
    "unknown-type": Broken("backends:\n  a:\n    type: volt\n", "3: backends.a.type:", "volt"),
    "no-type": Broken("backends:\n  a:\n    directory: /x\n", "2: backends.a.type:", "say which type"),
    "backend-key": Broken(
        "backends:\n  a:\n    type: local\n    directory: /x\n    dir: /y\n", "5: backends.a.dir:", "no such key"
    ),
    "backend-key-missing": Broken("backends:\n  a:\n    type: local\n", "2: backends.a.directory:", "needed"),
    "duration": Broken(f"{LOCAL}certificates:\n  max_ttl: 24\n", "3: certificates.max_ttl:", "with its unit"),
    "negative": Broken(f"{LOCAL}certificates:\n  max_ttl: 0s\n", "3: certificates.max_ttl:", "longer than zero"),
    "order": Broken(
        f"{LOCAL}certificates:\n  default_ttl: 2h\n  max_ttl: 1h\n", "2: certificates:", "longer than max_ttl"
    ),
    "address": Broken(f"{LOCAL}listen:\n  http: '15014'\n", "3: listen.http:", "host:port"),
    "port": Broken(f"{LOCAL}listen:\n  http: a:99999\n", "3: listen.http:", "host:port"),
    "cache": Broken(f"{LOCAL}authentication:\n  cache: 1m\n", "3: authentication.cache:", "10s"),
    "audiences": Broken(
        f"{LOCAL}authentication:\n  audiences: []\n", "3: authentication.audiences:", "1 or more entries"
    ),
    "trust-domain": Broken(f"{LOCAL}trust_domain: a b\n", "2: trust_domain:", ""),
    "route-backend": Broken(f"{LOCAL}routes:\n- backends: [other]\n", "3: routes.0.backends", "'other' is not defined"),
    "serving-backend": Broken(f"{LOCAL}serving:\n  backend: other\n", "3: serving.backend:", "'other' is not defined"),
    "two-backends": Broken(
        "backends:\n  a: {type: local, directory: /x}\n  b: {type: local, directory: /y}\n",
        " configuration:",
        "routes must say",
    ),
    "record-twice": Broken(
        f"{LOCAL}distribution: {{enabled: true}}\ntrust: {{record_file: /x}}\n",
        " configuration:",
        "trust.record_file is for signers without distribution",
    ),
    "lease-duration": Broken(
        f"{LOCAL}distribution:\n  lease_duration: 500ms\n", "3: distribution.lease_duration:", "must be 1s or more"
    ),
    "serving-pair": Broken(f"{LOCAL}serving:\n  key_file: /x\n", "2: serving:", "go together"),
    "list-for-mapping": Broken(f"{LOCAL}limits: [1]\n", "2: limits:", ""),
    "in-a-list": Broken(f"{LOCAL}clusters:\n- id: a\n- id: b\n  token: review\n", "5: clusters.1.token:", "no such"),
    "twice": Broken(f"{LOCAL}limits: {{}}\nlimits: {{}}\n", " line 3:", "given twice"),
    "not-yaml": Broken(f"{LOCAL}limits: {{\n", " line ", "not valid YAML"),
    "not-a-mapping": Broken("- a\n", " line 1:", "mapping of keys"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_broken_configuration(tmp_path: Path, broken: Broken) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(broken.text)
    done = check(path)

    assert done.code == 2
    assert f"{path}:{broken.where}" in done.out
    assert broken.says in done.out
    assert "Traceback" not in done.err


def test_all_complaints_at_once(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(f"{LOCAL}limits:\n  in_flight: 0\n  waiting: -1\n")

    assert check(path).out.count("error") == 2


def test_serve_complains_alike(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN["unknown-key"].text)
    done = istio_signer("serve", "--config", path)

    assert done.code == 2
    assert f"{path}:{BROKEN['unknown-key'].where}" in done.err


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_unreadable_file(tmp_path: Path, name: str) -> None:
    done = check(tmp_path / name)

    assert done.code == 2
    assert "cannot be read" in done.out


def test_faults_of_the_files_it_points_to(good: Path, ca: Ca, kubeconfig: Path, tmp_path: Path) -> None:
    changed = tmp_path / "ca"
    changed.mkdir()
    for name, text in ca.files.items():
        (changed / name).write_text(text)
    (changed / "ca-key.pem").write_text("rubbish")
    good.write_text(yaml.safe_dump(settings(tmp_path, changed, kubeconfig, {})))
    done = check(good)

    assert done.code == 1
    assert "backends.local.directory: ca-key.pem" in done.out


def test_variables_count_and_misspelt_ones_are_told(good: Path) -> None:
    done = check(good, ISTIO_SIGNER_LISTEN_GRPC="nonsense")
    assert done.code == 2
    assert "listen.grpc" in done.out

    done = check(good, ISTIO_SIGNER_LISTEN_GRCP="127.0.0.1:1")
    assert done.code == 0
    assert "warning  ISTIO_SIGNER_LISTEN_GRCP" in done.out
