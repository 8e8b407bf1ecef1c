"""``istio-signer check`` for the clusters of callers: the way there and, with ``--live``, what may be done there."""

from collections.abc import Iterator
from dataclasses import dataclass

from signer.app.one_cluster import trusted_in
from signer.authn.token_review import try_review
from signer.cli.check_issuers import check_ca_files, check_keys
from signer.config.clusters import Cluster
from signer.config.model import Config
from signer.core.spec import Finding, NoAnswer
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.no_cluster import NoCluster, NotInPod
from signer.kube.rights import Right, check_rights
from signer.trust import rights

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Need:
    """Rights that a part of the configuration takes, and the role of deploy/rbac that gives them."""

    where: str
    role: str
    rights: list[Right]


async def check_clusters(config: Config, live: bool) -> list[Finding]:
    """Judge each cluster's connection, and ask its API server where ``live``."""
    found = [
        await _cluster(f"clusters.{i}", cluster, live, list(_needs(config, i)))
        for i, cluster in enumerate(config.clusters)
    ]
    return [finding for findings in found for finding in findings]


def _needs(config: Config, index: int) -> Iterator[_Need]:
    if any(route.match.pod_labels for route in config.routes):
        # While it is missing, no caller is answered.
        yield _Need(f"clusters.{index}", "istio-signer-pod-labels", [Right("get", "", "pods")])
    if config.clusters[index].tokens == "offline":
        followed = [Right(verb, "", kind) for kind in ("pods", "serviceaccounts") for verb in ("get", "list", "watch")]
        yield _Need(f"clusters.{index}.tokens", "istio-signer-offline-tokens", followed)
    if trusted_in(config.clusters[index], config):
        yield _Need("ambient", "istio-signer-ambient", [Right(verb, "", "pods") for verb in ("get", "list", "watch")])
    if index == 0 and config.remote_secrets.enabled:
        place = config.remote_secrets.namespace
        followed = [Right(verb, "", "secrets", place) for verb in ("list", "watch")]
        yield _Need("remote_secrets", "istio-signer-remote-secrets", followed)
    if index == 0:
        yield from _duties(config)


def _duties(config: Config) -> Iterator[_Need]:
    """Of the leader, in the local cluster."""
    spread, istiod = config.distribution, config.istiod
    home = spread.lease_namespace
    if spread.enabled:
        roots = rights.roots_rights(spread.config_map, spread.cluster_trust_bundle)
        yield _Need("distribution", rights.DISTRIBUTION_ROLE, roots)
    if spread.enabled or istiod.enabled:
        shared = [*rights.lease_rights(home, spread.lease)]
        shared += rights.record_rights(home, spread.record) if spread.enabled else []
        yield _Need("distribution.lease_namespace", rights.DISTRIBUTION_ROLE, shared)
    if istiod.enabled:
        yield _Need("istiod.secret", rights.ISTIOD_ROLE, rights.istiod_rights(istiod.namespace, istiod.secret))


async def _cluster(where: str, cluster: Cluster, live: bool, needs: list[_Need]) -> list[Finding]:
    files = check_ca_files(where, cluster)
    try:
        api = await connect(cluster.kubeconfig, cluster.context)
    except NotInPod as error:
        text = f"{cluster.id}: not in a pod: run this there, or name a kubeconfig"
        return [*files, Finding("error", where, str(error)) if live else Finding("warning", where, text)]
    except NoCluster as error:
        return [*files, Finding("error", where, str(error))]
    try:
        if not live:
            return [*files, Finding("ok", where, f"{cluster.id}: connection configured; add --live to try it")]
        return files + await _asked(where, cluster, api, needs)
    finally:
        await api.close()


async def _asked(where: str, cluster: Cluster, api: KubeApi, needs: list[_Need]) -> list[Finding]:
    try:
        answer = await try_review(api, _SECONDS)
    except ApiUnavailable as error:
        return [NoAnswer("error", where, f"{cluster.id}: the API server gives no answer: {error}")]
    found = [_verdict(where, cluster, answer.status)]
    found += await check_keys(where, cluster, api)
    for need in needs:
        found += await check_rights(api, need.rights, need.where, need.role, shared=False)
    return found


def _verdict(where: str, cluster: Cluster, status: int) -> Finding:
    if status in (200, 201):
        return Finding("ok", where, f"{cluster.id}: tokens can be reviewed")
    if status in (401, 403):
        text = f"HTTP {status}: this account may not create tokenreviews; bind it to a ClusterRole with that one rule"
        return Finding("error", where, f"{cluster.id}: {text}")
    kind = NoAnswer if status == 429 or status >= 500 else Finding
    return kind("error", where, f"{cluster.id}: TokenReview: HTTP {status}")
