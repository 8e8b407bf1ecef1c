"""The clusters that Istio's remote secrets name, each with a connection and a judge of its own.

Each has tasks of its own (``signer.app.remote_cluster``): what is wrong with one of them never touches another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from signer.app.live_cluster import BuiltCluster, Live
from signer.app.remote_cluster import BUILD_SECONDS, Remote
from signer.authn.clusters import ByCluster
from signer.kube.api import KubeApi
from signer.kube.connect import connect_with
from signer.observe.health import Note

__all__ = ["Build", "BuiltCluster", "Connect", "RemoteClusters"]

Build = Callable[[str, KubeApi], Awaitable[BuiltCluster]]
Connect = Callable[[Mapping[str, Any], str], Awaitable[KubeApi]]


class RemoteClusters:
    """Keeps ``clusters`` in step with what the remote secrets say; a ``Listener`` of ``signer.kube.remote_secrets``.

    Args:
        clusters: Where judges are put.
        build: Makes a cluster's judge from its id and its connection.
        connect: Opens a connection by a decoded kubeconfig; told the cluster's id for the log.
    """

    def __init__(self, clusters: ByCluster, build: Build, connect: Connect = connect_with) -> None:
        self._clusters = clusters
        self._build = build
        self._connect = connect
        self._remotes: dict[str, Remote] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    def wanted(self, cluster_id: str, config: Mapping[str, Any]) -> None:
        """Connect, or connect anew. Until that is done, what there is stays; where there is nothing, its callers are
        told to try again."""
        if not self._closed:
            self._remote(cluster_id).want(config)

    def removed(self, cluster_id: str) -> None:
        """Forget it at once: its callers' credentials are bad from now on."""
        remote = self._remotes.pop(cluster_id, None)
        if remote is not None:
            remote.close()

    def broken(self, cluster_id: str, why: str) -> None:
        """Show it; what there is stays."""
        if not self._closed:
            self._remote(cluster_id).secret_broken(why)

    def notes(self) -> list[Note]:
        """One line a cluster, for the health report."""
        return [remote.note() for _, remote in sorted(self._remotes.items())]

    def ready(self) -> dict[str, bool]:
        """Tell of each whether its callers are judged by what its secret says now."""
        return {name: remote.note().well for name, remote in self._remotes.items()}

    async def run(self) -> None:
        """Keep all of them until cancelled, and close them then."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close all of them, each within ``DRAIN_SECONDS`` and ``CLOSE_SECONDS``; what is told later does not count."""
        self._closed = True
        for cluster_id in list(self._remotes):
            self.removed(cluster_id)
        while self._leaving:
            # What was being opened may leave something behind in its turn.
            await asyncio.wait(set(self._leaving))

    def _remote(self, cluster_id: str) -> Remote:
        if cluster_id not in self._remotes:
            self._remotes[cluster_id] = Remote(cluster_id, self._clusters, self._open, self._leave)
        return self._remotes[cluster_id]

    async def _open(self, cluster_id: str, config: Mapping[str, Any]) -> Live:
        async with AsyncExitStack() as opened, asyncio.timeout(BUILD_SECONDS):
            api = await self._connect(config, cluster_id)
            opened.push_async_callback(api.close)
            built = await self._build(cluster_id, api)
            opened.push_async_callback(built.close)
            return Live(cluster_id, built, opened.pop_all())

    def _leave(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
