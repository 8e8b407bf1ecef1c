"""The clusters that Istio's remote secrets name, as they come and go.

Source: istio: pkg/kube/multicluster/secretcontroller.go. Where it lets the secret that it saw first win, the order of
names decides here: replicas must agree.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from signer.kube.answer import Manifest
from signer.kube.api import KubeApi
from signer.kube.gathering import Gathering, Whole
from signer.kube.remote_secret import Found, found_in, name_of
from signer.kube.watch import Watch

_log = logging.getLogger("istio_signer.kube.remote")
SELECTOR = "istio/multiCluster=true"
MAX_CLUSTERS = 200
_MAX_ID = 253
# Complaints kept and shown: a Secret has room for thousands of keys.
_MAX_FAULTS = 20


class Listener(Protocol):
    """Whoever wants to know the clusters. Called on the event loop; must not block and must not raise."""

    def wanted(self, cluster_id: str, config: Mapping[str, Any]) -> None:
        """A usable kubeconfig, decoded: a cluster's first, another one, or the one before where what came between was
        broken."""
        ...

    def removed(self, cluster_id: str) -> None:
        """No secret names the cluster any more."""
        ...

    def broken(self, cluster_id: str, why: str) -> None:
        """What a secret holds for it is unusable; a kubeconfig told earlier still counts. ``why`` quotes nothing."""
        ...


class RemoteSecrets:
    """Follows the secrets, and tells a listener what they come to.

    As a ``Follower`` it only takes notes: decoding YAML takes long, and is done by ``run`` in a thread.

    Args:
        reserved: Ids that no secret may take: the local cluster's, and whatever else the configuration names.
        decode: Makes a mapping of a kubeconfig's bytes; may raise anything.
        listener: Told of everything.
    """

    def __init__(
        self, reserved: Collection[str], decode: Callable[[bytes], Mapping[str, Any]], listener: Listener
    ) -> None:
        self._reserved = frozenset(reserved)
        self._decode = decode
        self._listener = listener
        self._secrets: dict[str, dict[str, Found]] = {}
        self._news = asyncio.Event()
        self._good: dict[str, tuple[bytes, Mapping[str, Any]]] = {}
        self._bad: dict[str, bytes] = {}
        self.faults: tuple[str, ...] = ()
        """What is wrong with the secrets beyond single kubeconfigs, a line each: odd ids, ids named twice, too many."""
        self.settled = asyncio.Event()
        """Set once everything that was listed first has been told."""

    def gathering(self) -> Gathering:
        """Take all secrets, as of now."""
        return Whole(self._listed)

    def _listed(self, objects: list[Manifest]) -> None:
        self._secrets = {name: found_in(item) for item in objects if (name := name_of(item))}
        self._news.set()

    def changed(self, kind: str, item: Manifest) -> None:
        """Take one event."""
        name = name_of(item)
        if kind == "DELETED":
            self._secrets.pop(name, None)
        elif name:
            self._secrets[name] = found_in(item)
        self._news.set()

    async def run(self) -> None:
        """Tell the listener for ever; the watch runs beside it."""
        while True:
            await self._news.wait()
            await self.catch_up()
            self.settled.set()

    async def catch_up(self) -> None:
        """Tell the listener what has changed since the last time."""
        self._news.clear()
        wanted = self._wanted()
        for cluster in [c for c in self._good | self._bad if c not in wanted]:
            self._good.pop(cluster, None)
            self._bad.pop(cluster, None)
            self._listener.removed(cluster)
        for cluster, found in wanted.items():
            await self._compare(cluster, found)

    async def _compare(self, cluster: str, found: Found) -> None:
        told = self._good.get(cluster)
        if self._bad.get(cluster) == found.digest:
            return
        if told is not None and told[0] == found.digest:
            if self._bad.pop(cluster, None) is not None:
                self._listener.wanted(cluster, told[1])
            return
        config, fault = (None, found.fault) if found.fault else await asyncio.to_thread(self._decoded, found.data)
        if config is None:
            self._broken(cluster, found.digest, fault)
            return
        self._bad.pop(cluster, None)
        self._good[cluster] = (found.digest, config)
        self._listener.wanted(cluster, config)

    def _broken(self, cluster: str, digest: bytes, fault: str) -> None:
        self._bad[cluster] = digest
        kept = "; the one before stays in use" if cluster in self._good else ""
        _log.warning("cluster %s: its remote secret is unusable: %s%s", cluster, fault, kept)
        self._listener.broken(cluster, fault + kept)

    def _decoded(self, data: bytes) -> tuple[Mapping[str, Any] | None, str]:
        """Decode in a thread. What parsers say may quote a credential."""
        try:
            config = self._decode(data)
        except Exception as error:  # noqa: BLE001  whatever it is, it is that kubeconfig's
            return None, f"no kubeconfig: {type(error).__name__}"
        return (config, "") if isinstance(config, Mapping) else (None, "no kubeconfig: not a mapping")

    def _wanted(self) -> dict[str, Found]:
        """Who counts: by the order of the secrets' names, so that all replicas agree."""
        wanted: dict[str, Found] = {}
        owners: dict[str, str] = {}
        faults: list[str] = []
        for secret, cluster, found in self._entries():
            fault = self._refusal(cluster, owners)
            if fault:
                faults.append(f"secret {secret!a}: cluster {cluster[:100]!a}: {fault}")
                continue
            wanted[cluster], owners[cluster] = found, secret
        self._say(faults)
        return wanted

    def _entries(self) -> Iterator[tuple[str, str, Found]]:
        for secret, clusters in sorted(self._secrets.items()):
            for cluster, found in sorted(clusters.items()):
                yield secret, cluster, found

    def _refusal(self, cluster: str, owners: Mapping[str, str]) -> str:
        if not (cluster.isascii() and cluster.isprintable() and 0 < len(cluster) <= _MAX_ID):
            return f"an id is 1 to {_MAX_ID} printable ASCII characters"
        if cluster in self._reserved:
            return "the configuration has this id"
        if cluster in owners:
            return f"secret {owners[cluster]!a} names it too, and counts"
        return f"over {MAX_CLUSTERS} clusters" if len(owners) >= MAX_CLUSTERS else ""

    def _say(self, faults: list[str]) -> None:
        more = len(faults) - _MAX_FAULTS
        shown = (*faults[:_MAX_FAULTS], *([f"{more} more faults of remote secrets"] if more > 0 else []))
        for fault in shown:
            if fault not in self.faults:
                _log.warning("remote secrets: %s", fault)
        self.faults = shown


def watch_secrets(api: KubeApi, namespace: str, secrets: RemoteSecrets) -> Watch:
    """Make the watch that feeds ``secrets`` from a namespace of the local cluster."""
    return Watch(api, f"/api/v1/namespaces/{namespace}/secrets", {"labelSelector": SELECTOR}, secrets)
