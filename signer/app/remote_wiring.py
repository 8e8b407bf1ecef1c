"""Istio's remote secrets, wired: each cluster that they name gets what a configured one gets, and goes with them."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from signer.app.one_cluster import ClusterParts, all_set, authenticator_of
from signer.app.remote_clusters import BuiltCluster, RemoteClusters
from signer.authn.clusters import ByCluster
from signer.authn.token_review import try_review
from signer.config.clusters import Cluster
from signer.config.positions import read_plain_yaml
from signer.kube.answer import ApiUnavailable, reason_of
from signer.kube.api import KubeApi
from signer.kube.remote_secrets import RemoteSecrets, watch_secrets
from signer.kube.watch import Watch
from signer.observe.health import Note
from signer.runtime.supervise import forever

# Then it is asked again: a hundred thousand pods take a while to be listed.
READY_SECONDS = 5.0


def follow_remote_secrets(api: KubeApi, clusters: ByCluster, parts: ClusterParts, reserved: Collection[str]) -> None:
    """Add to ``parts`` what follows the secrets of the local cluster.

    Args:
        api: The local cluster's API server.
        clusters: Where the clusters' judges are put.
        parts: Gets the services, the notes and what must be closed.
        reserved: Ids and aliases of configured clusters, which no Secret may take.
    """
    in_use: dict[str, ClusterParts] = {}

    async def build(cluster_id: str, remote: KubeApi) -> BuiltCluster:
        return _built(cluster_id, remote, parts, in_use)

    remotes = RemoteClusters(clusters, build)
    secrets = RemoteSecrets({*reserved}, _decoded, remotes)
    watch = watch_secrets(api, parts.config.remote_secrets.namespace, secrets)
    parts.services["remote-clusters"] = remotes.run
    parts.services["remote-secrets"] = secrets.run
    parts.services["watch-remote-secrets"] = watch.run
    parts.synced.append(secrets.settled)
    clusters.expect(partial(_not_known, secrets, watch))
    parts.add_notes(lambda: [Note(False, f"remote secrets: {watch.fault}")] if watch.fault else [])
    parts.add_notes(lambda: [Note(False, fault) for fault in secrets.faults])
    parts.add_notes(remotes.notes)
    parts.add_notes(lambda: [note for each in in_use.values() for note in each.notes()])
    parts.remotes = remotes.ready
    parts.more_followed.append(lambda: [one for each in in_use.values() for one in each.followed])


def _not_known(secrets: RemoteSecrets, watch: Watch) -> str:
    """Why there may be a cluster of which nothing has been heard; empty where all are known."""
    if secrets.settled.is_set() and watch.broken_since is None:
        return ""
    return f"the remote secrets are not known now: {watch.fault}"


def _decoded(data: bytes) -> Mapping[str, Any]:
    return read_plain_yaml(data.decode("utf-8"))


def _built(cluster_id: str, api: KubeApi, parts: ClusterParts, in_use: dict[str, ClusterParts]) -> BuiltCluster:
    """One cluster on parts of its own, so that it can be closed alone. The new one takes the old one's place."""
    opened = AsyncExitStack()
    own = parts.anew(opened)
    given = parts.config.remote_secrets
    cluster = Cluster(id=cluster_id, tokens=given.tokens, trusted_node_accounts=given.trusted_node_accounts)
    authenticator = authenticator_of(cluster, api, own)

    def take_over() -> None:
        in_use[cluster_id] = own
        parts.proxies |= own.proxies

    async def close() -> None:
        if in_use.get(cluster_id) is own:
            del in_use[cluster_id]
            parts.proxies.pop(cluster_id, None)
        await opened.aclose()

    async def ready() -> None:
        before = in_use.get(cluster_id)
        await _ready(cluster, api, own, None if before is own else before)

    return BuiltCluster(authenticator, lambda: _run(own), close, ready, take_over)


async def _ready(cluster: Cluster, api: KubeApi, own: ClusterParts, before: ClusterParts | None) -> None:
    """Wait until it can judge, and knows what the one that it replaces knew.

    No more than that: what the account may not see, it may not see by newer credentials either, and the older ones end.

    Raises:
        ApiUnavailable: It cannot yet.
    """
    pairs = zip(own.synced, before.synced if before else own.synced, strict=True)
    needed = [new for new, old in pairs if before is None or old.is_set()]
    if cluster.tokens == "review":
        await _reviews(api, own.config.authentication.timeout.total_seconds())
    if not await all_set(needed, READY_SECONDS):
        faults = [note.text for note in own.notes() if not note.well]
        raise ApiUnavailable("; ".join(faults) or "its issuer is not known yet")


async def _reviews(api: KubeApi, timeout: float) -> None:
    """The API server is there, knows us, and lets us ask."""
    answer = await try_review(api, timeout)
    if answer.status not in (200, 201):
        raise ApiUnavailable(f"TokenReview: HTTP {answer.status}: {reason_of(answer)}")


async def _run(own: ClusterParts) -> None:
    """All that follows the cluster, side by side."""
    async with asyncio.TaskGroup() as group:
        for name, follow in own.services.items():
            group.create_task(forever(name, follow()))
        group.create_task(asyncio.Event().wait())
