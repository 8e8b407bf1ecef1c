"""``istio-signer check`` for the clusters of callers: the way there and, with ``--live``, what may be done there."""

from signer.authn.token_review import PATH
from signer.config.model import Cluster, Config
from signer.core.spec import Finding, NoAnswer
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi, connect
from signer.kube.connect import NoCluster, NotInPod
from signer.kube.rights import Right, check_rights

_SECONDS = 5.0


async def check_clusters(config: Config, live: bool) -> list[Finding]:
    """Judge each cluster's connection, and ask its API server where ``live``."""
    labels = any(route.match.pod_labels for route in config.routes)
    found = [await _cluster(f"clusters.{i}", cluster, live, labels) for i, cluster in enumerate(config.clusters)]
    return [finding for findings in found for finding in findings]


async def _cluster(where: str, cluster: Cluster, live: bool, labels: bool) -> list[Finding]:
    try:
        api = await connect(cluster.kubeconfig, cluster.context)
    except NotInPod as error:
        text = f"{cluster.id}: not in a pod: run this there, or name a kubeconfig"
        return [Finding("error", where, str(error)) if live else Finding("warning", where, text)]
    except NoCluster as error:
        return [Finding("error", where, str(error))]
    try:
        if not live:
            return [Finding("ok", where, f"{cluster.id}: connection configured; add --live to try it")]
        return await _asked(where, cluster, api, labels)
    finally:
        await api.close()


async def _asked(where: str, cluster: Cluster, api: KubeApi, labels: bool) -> list[Finding]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "check"}}
    try:
        answer = await api.post(PATH, body, _SECONDS)
    except ApiUnavailable as error:
        return [NoAnswer("error", where, f"{cluster.id}: the API server gives no answer: {error}")]
    verdict = _verdict(where, cluster, answer.status)
    if not labels:
        return [verdict]
    # While it is missing, no caller is answered.
    return [verdict, *await check_rights(api, [Right("get", "", "pods")], where, "istio-signer-pod-labels")]


def _verdict(where: str, cluster: Cluster, status: int) -> Finding:
    if status in (200, 201):
        return Finding("ok", where, f"{cluster.id}: tokens can be reviewed")
    if status in (401, 403):
        text = f"HTTP {status}: this account may not create tokenreviews; bind it to a ClusterRole with that one rule"
        return Finding("error", where, f"{cluster.id}: {text}")
    kind = NoAnswer if status == 429 or status >= 500 else Finding
    return kind("error", where, f"{cluster.id}: TokenReview: HTTP {status}")
