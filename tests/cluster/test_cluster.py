"""What tests rely on: the verdicts of the API server on tokens and rights, and the log of its calls."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import rbac
from tests.cluster.api import Kube, uid
from tests.cluster.client import ApiError
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.cluster.tokens import expired, resign, unverified_claims

EXTRA = "authentication.kubernetes.io"
REFUSAL_LIMIT = 20.0
"""Seconds. The API server remembers a good verdict for 10."""


@pytest.fixture
def pod_token(kube: Kube, namespace: str) -> str:
    kube.create_service_account(namespace, "app")
    kube.create_pod(namespace, "app-1", "app", "node-a")
    return kube.pod_token(namespace, "app", "app-1")


def test_pod_token_is_accepted_and_names_the_pod(kube: Kube, namespace: str, pod_token: str) -> None:
    status = kube.review_token(pod_token)

    assert status["authenticated"] is True
    assert status["audiences"] == ["istio-ca"]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:app"
    extra = status["user"]["extra"]
    assert extra[f"{EXTRA}/pod-name"] == ["app-1"]
    assert extra[f"{EXTRA}/pod-uid"] == [uid(kube.get("v1", "Pod", "app-1", namespace))]
    assert extra[f"{EXTRA}/node-name"] == ["node-a"]
    assert extra[f"{EXTRA}/node-uid"] == [uid(kube.get("v1", "Node", "node-a"))]


Forge = Callable[[str, Path], str]


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        pytest.param(expired, "token has expired", id="expired"),
        pytest.param(lambda t, k: resign(t, k, aud=["other"]), "token audiences", id="other-audience"),
        pytest.param(lambda t, k: resign(t, k, iss="https://elsewhere"), "", id="other-issuer"),
        pytest.param(lambda t, k: t[: -len("AAAA")] + "AAAA", "", id="broken-signature"),
        pytest.param(lambda t, k: "not a token", "", id="no-token"),
    ],
)
def test_bad_token_is_refused(kube: Kube, cluster: Cluster, pod_token: str, forge: Forge, reason: str) -> None:
    status = kube.review_token(forge(pod_token, cluster.service_account_key))

    assert not status.get("authenticated")
    assert reason in status.get("error", "")


def test_resigned_token_is_as_good_as_the_original(kube: Kube, cluster: Cluster, pod_token: str) -> None:
    assert kube.review_token(resign(pod_token, cluster.service_account_key))["authenticated"]


def test_token_dies_with_its_pod(kube: Kube, namespace: str, pod_token: str) -> None:
    assert kube.review_token(pod_token)["authenticated"]  # From here on the server remembers a good verdict.
    kube.delete_pod(namespace, "app-1")
    kube.create_pod(namespace, "app-1", "app", "node-a")  # A namesake does not inherit it.

    until(
        lambda: not kube.review_token(pod_token).get("authenticated"),
        deadline=REFUSAL_LIMIT,
        what="the token of a deleted pod to be refused",
    )


def test_token_without_a_pod_names_none(kube: Kube, namespace: str) -> None:
    kube.create_service_account(namespace, "app")
    token = kube.service_account_token(namespace, "app", ["istio-ca"])

    assert "pod" not in unverified_claims(token)["kubernetes.io"]
    assert f"{EXTRA}/pod-name" not in kube.review_token(token)["user"]["extra"]


def test_everything_made_twice_stays_the_same(kube: Kube, namespace: str) -> None:
    kube.create_namespace(namespace)
    accounts = [kube.create_service_account(namespace, "app") for _ in range(2)]
    pods = [kube.create_pod(namespace, "app-1", "app") for _ in range(2)]
    for _ in range(2):
        kube.delete_pod(namespace, "app-1")

    assert accounts[0] == accounts[1]
    assert pods[0] == pods[1]


def test_least_rights_allow_token_reviews_only(kube: Kube, namespace: str, pod_token: str, tmp_path: Path) -> None:
    kubeconfig = rbac.account_kubeconfig(kube, tmp_path / "signer", namespace, "signer")

    with Kube.load(kubeconfig) as signer:
        assert signer.review_token(pod_token)["authenticated"]
        with pytest.raises(ApiError, match="pods is forbidden") as refusal:
            signer.list_all("v1", "Pod", namespace)
    assert refusal.value.status == 403
    assert kubeconfig.stat().st_mode & 0o777 == 0o600


def test_rights_in_one_namespace_end_there(kube: Kube, namespace: str) -> None:
    kube.create_service_account(namespace, "signer")
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["update"]}
    rbac.grant(kube, namespace, "signer", [rule], cluster_wide=False)

    elsewhere = {"verb": "update", "group": "", "resource": "configmaps", "namespace": "default"}
    assert not rbac.allowed(kube, namespace, "signer", elsewhere)


def test_cluster_trust_bundles_are_served(kube: Kube) -> None:
    assert kube.path("certificates.k8s.io/v1beta1", "ClusterTrustBundle").endswith("/clustertrustbundles")


def test_audit_log_counts_calls(kube: Kube, cluster: Cluster, namespace: str) -> None:
    kube.create_service_account(namespace, "app")

    # A line is written when its call has ended, which may be a moment after the client has the answer.
    verbs = until(lambda: _audited(cluster.audit_log, namespace), deadline=5, what="the call in the audit log")
    assert verbs == ["patch"]


def _audited(log: Path, namespace: str) -> list[str]:
    wanted = {"resource": "serviceaccounts", "namespace": namespace}
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [event["verb"] for event in events if wanted.items() <= event.get("objectRef", {}).items()]
