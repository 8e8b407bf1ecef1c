"""Istio's remote secrets, wired: each cluster that they name gets what a configured one gets, and goes with them."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from signer.app.one_cluster import Ground, authenticator_of
from signer.app.remote_clusters import BuiltCluster, RemoteClusters
from signer.authn.clusters import ByCluster
from signer.config.model import Cluster
from signer.config.positions import read_yaml
from signer.kube.api import KubeApi
from signer.kube.remote_secrets import RemoteSecrets, watch_secrets
from signer.observe.health import Note


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


def _decoded(data: bytes) -> Mapping[str, Any]:
    return read_yaml(data.decode("utf-8"))[0]


def _built(cluster_id: str, api: KubeApi, ground: Ground, local: dict[str, Ground]) -> BuiltCluster:
    """One cluster on ground of its own, so that it can be closed alone. The new one takes the old one's place."""
    opened = AsyncExitStack()
    own = replace(ground, opened=opened, proxies={}, services={}, synced=[], followed=[], more_notes=[])
    authenticator = authenticator_of(Cluster(id=cluster_id, tokens=ground.config.remote_secrets.tokens), api, own)
    local[cluster_id] = own
    ground.proxies |= own.proxies

    async def close() -> None:
        if local.get(cluster_id) is own:
            del local[cluster_id]
            ground.proxies.pop(cluster_id, None)
        await opened.aclose()

    return BuiltCluster(authenticator, lambda: _run(own), close)


async def _run(own: Ground) -> None:
    """All that follows the cluster, side by side."""
    async with asyncio.TaskGroup() as group:
        for follow in own.services.values():
            group.create_task(follow())
        group.create_task(asyncio.Event().wait())
