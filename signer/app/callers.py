"""How callers are proven and what they may have, from the configuration: one authenticator a cluster."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from signer.app.offline import Issuers
from signer.authn.bearer import BearerAuthenticator, BearerPolicy, Judge
from signer.authn.clusters import ByCluster
from signer.authn.development import DevelopmentIssuer
from signer.authn.live_pod import LivePods
from signer.authn.offline import OfflineJudge, OfflinePolicy
from signer.authn.pod_labels import WithPodLabels
from signer.authn.token_review import ReviewPolicy, TokenReviewer
from signer.authz.ambient import NodeProxies
from signer.config.model import Cluster, Config
from signer.core.identity import TrustDomain
from signer.core.ports import Authenticator, Clock
from signer.kube.api import KubeApi, connect
from signer.kube.connect import NoCluster
from signer.kube.pods import Accounts, Pods
from signer.observe.health import Note

Service = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Callers:
    """How callers are proven.

    Attributes:
        authenticator: Of all clusters.
        proxies: Who may act for others, by cluster.
        services: What follows the clusters, by name; to be run while the server runs.
        synced: Waits until the local cluster's objects are known.
        notes: Lines of the verbose report.
        closers: What must be closed at the end.
    """

    authenticator: Authenticator
    proxies: Mapping[str, NodeProxies] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    synced: list[asyncio.Event] = field(default_factory=list)
    notes: Callable[[], list[Note]] = list
    closers: list[Callable[[], Any]] = field(default_factory=list)


@dataclass(slots=True)
class Ground:
    """What the clusters share while they are put together.

    Attributes:
        count: Told where each verdict on a token came from.
        labels_needed: Tells, at each call, whether routes look at the labels of callers' pods.
    """

    config: Config
    clock: Clock
    count: Callable[[str], None]
    labels_needed: Callable[[], bool]
    opened: AsyncExitStack
    proxies: dict[str, NodeProxies] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    synced: list[asyncio.Event] = field(default_factory=list)
    followed: list[tuple[str, Pods | Accounts]] = field(default_factory=list)

    @property
    def tolerance(self) -> float:
        """Seconds for which what is known of a cluster is believed while its API server is down."""
        return self.config.authentication.outage.total_seconds()

    def follow(self, cluster: str, what: str, collection: Pods | Accounts) -> None:
        """Have a collection followed while the server runs."""
        self.services[f"watch-{what}-{cluster}"] = collection.watch.run
        self.synced.append(collection.watch.synced)
        self.followed.append((f"{what} of cluster {cluster}", collection))
        self.opened.push_async_callback(collection.close)

    def notes(self) -> list[Note]:
        """A line for each collection."""
        return [_note(name, collection, self.tolerance) for name, collection in self.followed]


async def build_callers(
    config: Config,
    clock: Clock,
    count: Callable[[str], None],
    issuer: DevelopmentIssuer | None,
    labels_needed: Callable[[], bool] = lambda: False,
) -> Callers:
    """Connect to the API servers, or take the development issuer instead of all of them.

    Args:
        config: The configuration.
        clock: Time.
        count: Told where each verdict on a token came from.
        issuer: Judges tokens instead of any API server.
        labels_needed: Tells, at each call, whether routes look at the labels of callers' pods.

    Raises:
        NoCluster: A cluster has no usable connection configuration; what was opened for others is closed again.
    """
    authenticators: dict[str, Authenticator] = {}
    async with AsyncExitStack() as opened:
        ground = Ground(config, clock, count, labels_needed, opened)
        for index, cluster in enumerate(config.clusters):
            if issuer is not None:
                authenticators[cluster.id] = _judged_by(issuer, cluster, ground)
            else:
                api = await _connect(index, cluster, opened)
                authenticators[cluster.id] = _authenticator(cluster, api, ground)
        by_cluster = ByCluster(config.clusters[0].id, authenticators, aliases=aliases_of(config))
        closers = [opened.pop_all().aclose]
        return Callers(by_cluster, ground.proxies, ground.services, ground.synced, ground.notes, closers)


def aliases_of(config: Config) -> dict[str, str]:
    """Every other name of a cluster, and its id."""
    return {alias: cluster.id for cluster in config.clusters for alias in cluster.aliases}


async def _connect(index: int, cluster: Cluster, opened: AsyncExitStack) -> KubeApi:
    try:
        api = await connect(cluster.kubeconfig, cluster.context)
    except NoCluster as error:
        raise type(error)(f"clusters.{index}.kubeconfig: {error}") from None
    opened.push_async_callback(api.close)
    return api


def _authenticator(cluster: Cluster, api: KubeApi, ground: Ground) -> Authenticator:
    """One cluster's: its judge, its pods where somebody acts for them, and the labels of callers' pods."""
    trusted = ground.config.ambient.trusted_node_accounts
    offline = cluster.tokens == "offline"
    pods = Pods(api) if trusted or offline else None
    if pods is not None:
        ground.follow(cluster.id, "pods", pods)
        ground.proxies[cluster.id] = NodeProxies(frozenset(trusted), pods, ground.tolerance)
    judge: Judge = _reviewer(cluster, api, ground.config)
    if offline and pods is not None:
        judge = _offline(cluster, api, pods, judge, ground)
    bearer = _judged_by(judge, cluster, ground)
    timeout = ground.config.authentication.timeout.total_seconds()
    labelled = WithPodLabels(bearer, api, ground.labels_needed, ground.clock, timeout)
    ground.opened.push_async_callback(labelled.close)
    return labelled


def _judged_by(judge: Judge, cluster: Cluster, ground: Ground) -> BearerAuthenticator:
    settings = ground.config.authentication
    # Offline there is no far side to spare: what is remembered would only outlive a deleted pod.
    cache = 0.0 if cluster.tokens == "offline" else settings.cache.total_seconds()
    policy = BearerPolicy(_audiences(cluster, ground.config), cache, settings.concurrency)
    bearer = BearerAuthenticator(judge, policy, ground.clock, ground.count)
    ground.opened.push_async_callback(bearer.close)
    return bearer


def _reviewer(cluster: Cluster, api: KubeApi, config: Config) -> TokenReviewer:
    timeout = config.authentication.timeout.total_seconds()
    return TokenReviewer(
        api, ReviewPolicy(cluster.id, domain_of(cluster, config), _audiences(cluster, config), timeout)
    )


def _offline(cluster: Cluster, api: KubeApi, pods: Pods, fallback: Judge, ground: Ground) -> OfflineJudge:
    accounts = Accounts(api)
    ground.follow(cluster.id, "service-accounts", accounts)
    issuers = Issuers(cluster, api, ground.config.authentication.timeout.total_seconds(), ground.clock)
    ground.services[f"issuer-{cluster.id}"] = issuers.run
    ground.synced.append(issuers.known)
    ground.opened.push_async_callback(issuers.close)
    domain, audiences = domain_of(cluster, ground.config), _audiences(cluster, ground.config)
    live = LivePods(pods, accounts, ground.clock, ground.tolerance)
    return OfflineJudge(OfflinePolicy(cluster.id, domain, audiences, issuers.keys), live, fallback, ground.clock)


def domain_of(cluster: Cluster, config: Config) -> TrustDomain:
    """The trust domain of a cluster's callers: its own, or the mesh's."""
    return TrustDomain(cluster.trust_domain or config.trust_domain)


def _audiences(cluster: Cluster, config: Config) -> list[str]:
    return cluster.audiences or config.authentication.audiences


def _note(name: str, collection: Pods | Accounts, tolerance: float) -> Note:
    stale = collection.stale_for()
    if not collection.synced:
        return Note(False, f"{name}: not known yet: {collection.watch.fault}")
    if stale:
        left = max(0.0, tolerance - stale)
        text = f"{name}: not watched for {stale:.0f} s, believed for {left:.0f} s more: {collection.watch.fault}"
        return Note(False, text)
    return Note(True, f"{name}: {len(collection)} known")
