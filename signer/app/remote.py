"""Istio's remote secrets, wired: each cluster that they name gets what a configured one gets, and goes with them."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from signer.app.one_cluster import Ground, authenticator_of
from signer.app.remote_clusters import BuiltCluster, RemoteClusters
from signer.authn.clusters import ByCluster
from signer.authn.token_review import PATH
from signer.config.model import Cluster
from signer.config.positions import read_yaml
from signer.kube.api import ApiUnavailable, KubeApi
from signer.kube.remote_secrets import RemoteSecrets, watch_secrets
from signer.kube.watch import reason_of
from signer.observe.health import Note

# Then it is asked again: a hundred thousand pods take a while to be listed.
READY_SECONDS = 5.0


def follow_remote_secrets(api: KubeApi, clusters: ByCluster, ground: Ground, reserved: Collection[str]) -> None:
    """Add to ``ground`` what follows the secrets of the local cluster.

    Args:
        api: The local cluster's API server.
        clusters: Where the clusters' judges are put.
        ground: Gets the services, the notes and what must be closed.
        reserved: Ids and aliases of configured clusters, which no Secret may take.
    """
    local: dict[str, Ground] = {}

    async def build(cluster_id: str, remote: KubeApi) -> BuiltCluster:
        return _built(cluster_id, remote, ground, local)

    remotes = RemoteClusters(clusters, build)
    secrets = RemoteSecrets({*reserved}, _decoded, remotes)
    watch = watch_secrets(api, ground.config.remote_secrets.namespace, secrets)
    ground.services["remote-clusters"] = remotes.run
    ground.services["remote-secrets"] = secrets.run
    ground.services["watch-remote-secrets"] = watch.run
    ground.synced.append(secrets.settled)
    ground.add_notes(lambda: [Note(False, f"remote secrets: {watch.fault}")] if watch.fault else [])
    ground.add_notes(lambda: [Note(False, fault) for fault in secrets.faults])
    ground.add_notes(remotes.notes)
    ground.add_notes(lambda: [note for each in local.values() for note in each.notes()])
    ground.more_followed.append(lambda: [one for each in local.values() for one in each.followed])


def _decoded(data: bytes) -> Mapping[str, Any]:
    return read_yaml(data.decode("utf-8"))[0]


def _built(cluster_id: str, api: KubeApi, ground: Ground, local: dict[str, Ground]) -> BuiltCluster:
    """One cluster on ground of its own, so that it can be closed alone. The new one takes the old one's place."""
    opened = AsyncExitStack()
    own = replace(
        ground, opened=opened, proxies={}, services={}, synced=[], followed=[], more_notes=[], more_followed=[]
    )
    cluster = Cluster(id=cluster_id, tokens=ground.config.remote_secrets.tokens)
    authenticator = authenticator_of(cluster, api, own)

    def take_over() -> None:
        local[cluster_id] = own
        ground.proxies |= own.proxies

    async def close() -> None:
        if local.get(cluster_id) is own:
            del local[cluster_id]
            ground.proxies.pop(cluster_id, None)
        await opened.aclose()

    return BuiltCluster(authenticator, lambda: _run(own), close, partial(_ready, cluster, api, own), take_over)


async def _ready(cluster: Cluster, api: KubeApi, own: Ground) -> None:
    """Wait until it can judge, and act for others, as what it replaces could.

    Raises:
        ApiUnavailable: It cannot yet.
    """
    if cluster.tokens == "review":
        await _reviews(api, own.config.authentication.timeout.total_seconds())
    try:
        async with asyncio.timeout(READY_SECONDS):
            for synced in own.synced:
                await synced.wait()
    except TimeoutError:
        faults = [note.text for note in own.notes() if not note.well]
        raise ApiUnavailable("; ".join(faults) or "its issuer is not known yet") from None


async def _reviews(api: KubeApi, timeout: float) -> None:
    """Have nobody's token reviewed: the API server is there, knows us, and lets us ask."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nobody"}}
    answer = await api.post(PATH, body, timeout)
    if answer.status not in (200, 201):
        raise ApiUnavailable(f"TokenReview: HTTP {answer.status}: {reason_of(answer)}")


async def _run(own: Ground) -> None:
    """All that follows the cluster, side by side."""
    async with asyncio.TaskGroup() as group:
        for follow in own.services.values():
            group.create_task(follow())
        group.create_task(asyncio.Event().wait())
