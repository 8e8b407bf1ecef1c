"""How the callers of one cluster are proven: its judge, what it follows, and what must be closed with it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from signer.app.issuers import Issuers
from signer.authn.bearer import BearerAuthenticator, BearerPolicy, Judge
from signer.authn.direct import DirectAuthenticator, Queued
from signer.authn.live_pod import LivePods
from signer.authn.offline import OfflineJudge, OfflinePolicy
from signer.authn.pod_labels import WithPodLabels
from signer.authn.token_review import ReviewPolicy, TokenReviewer
from signer.authz.ambient import NodeProxies
from signer.config.clusters import Cluster
from signer.config.model import Config
from signer.core.identity import TrustDomain
from signer.core.ports import Authenticator, Clock
from signer.kube.api import KubeApi
from signer.kube.pod_facts import Labels
from signer.kube.pods import Accounts, Pods
from signer.observe.health import Note

Service = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Followed:
    """A collection that is followed: of which cluster, and of what (``pods``, ``service-accounts``)."""

    cluster: str
    what: str
    collection: Pods | Accounts


@dataclass(slots=True)
class ClusterParts:
    """What makes up the callers of clusters: what all of them are given, and what each adds.

    Attributes:
        count: Told where each verdict on a token came from.
        labels_needed: Tells, at each call, whether routes look at the labels of callers' pods.
        remotes: Of each cluster of a remote secret, whether it is ready.
    """

    config: Config
    clock: Clock
    count: Callable[[str], None]
    labels_needed: Callable[[], bool]
    opened: AsyncExitStack
    proxies: dict[str, NodeProxies] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    synced: list[asyncio.Event] = field(default_factory=list)
    followed: list[Followed] = field(default_factory=list)
    more_notes: list[Callable[[], list[Note]]] = field(default_factory=list)
    more_followed: list[Callable[[], list[Followed]]] = field(default_factory=list)
    remotes: Callable[[], Mapping[str, bool]] = dict

    def anew(self, opened: AsyncExitStack) -> Self:
        """The same for another cluster alone, with nothing added yet."""
        return type(self)(self.config, self.clock, self.count, self.labels_needed, opened)

    @property
    def tolerance(self) -> float:
        """Seconds for which what is known of a cluster is believed while its API server is down."""
        return self.config.authentication.outage.total_seconds()

    def follow(self, cluster: str, what: str, collection: Pods | Accounts) -> None:
        """Have a collection followed while the server runs."""
        self.services[f"watch-{what}-{cluster}"] = collection.watch.run
        self.synced.append(collection.watch.synced)
        self.followed.append(Followed(cluster, what, collection))
        self.opened.push_async_callback(collection.close)

    def add_notes(self, notes: Callable[[], list[Note]]) -> None:
        """Have the report show what ``notes`` gives at the time."""
        self.more_notes.append(notes)

    def notes(self) -> list[Note]:
        """A line for each collection, and what else there is to say."""
        own = [_note(followed, self.tolerance) for followed in self.followed]
        return own + [note for notes in self.more_notes for note in notes()]

    def all_followed(self) -> list[Followed]:
        """The collections of all clusters."""
        return self.followed + [followed for more in self.more_followed for followed in more()]


def authenticator_of(cluster: Cluster, api: KubeApi, parts: ClusterParts) -> Authenticator:
    """One cluster's: its judge, its pods where somebody acts for them, and the labels of callers' pods."""
    trusted = trusted_in(cluster, parts.config)
    offline = cluster.tokens == "offline"
    pods = Pods(api, labelled=parts.labels_needed) if trusted or offline else None
    if pods is not None:
        parts.follow(cluster.id, "pods", pods)
        parts.proxies[cluster.id] = NodeProxies(frozenset(trusted), pods, parts.tolerance)
    bearer: Authenticator = (reviewed := judged_by(_reviewer(cluster, api, parts.config), cluster, parts))
    if offline and pods is not None:
        judge = _offline(cluster, api, pods, Queued(reviewed), parts)
        bearer = DirectAuthenticator(judge, _audiences(cluster, parts.config), parts.clock, parts.count)
    timeout = parts.config.authentication.timeout.total_seconds()
    watched = partial(_watched_labels, pods, parts.tolerance) if pods is not None else lambda *_: None
    labelled = WithPodLabels(bearer, api, parts.labels_needed, parts.clock, timeout, watched)
    parts.opened.push_async_callback(labelled.close)
    return labelled


def judged_by(judge: Judge, cluster: Cluster, parts: ClusterParts) -> BearerAuthenticator:
    """Put the memory, the sharing and the caps before a judge that asks somebody."""
    settings = parts.config.authentication
    policy = BearerPolicy(_audiences(cluster, parts.config), settings.cache.total_seconds(), settings.concurrency)
    bearer = BearerAuthenticator(judge, policy, parts.clock, parts.count)
    parts.opened.push_async_callback(bearer.close)
    return bearer


def _reviewer(cluster: Cluster, api: KubeApi, config: Config) -> TokenReviewer:
    timeout = config.authentication.timeout.total_seconds()
    return TokenReviewer(
        api, ReviewPolicy(cluster.id, domain_of(cluster, config), _audiences(cluster, config), timeout)
    )


def _offline(cluster: Cluster, api: KubeApi, pods: Pods, fallback: Judge, parts: ClusterParts) -> OfflineJudge:
    accounts = Accounts(api)
    parts.follow(cluster.id, "service-accounts", accounts)
    issuers = Issuers(cluster, api, parts.config.authentication.timeout.total_seconds(), parts.clock)
    if not cluster.issuers:
        parts.services[f"issuer-{cluster.id}"] = issuers.run
    parts.add_notes(issuers.notes)
    parts.synced.append(issuers.known)
    parts.opened.push_async_callback(issuers.close)
    domain, audiences = domain_of(cluster, parts.config), _audiences(cluster, parts.config)
    live = LivePods(pods, accounts, parts.clock, parts.tolerance)
    return OfflineJudge(OfflinePolicy(cluster.id, domain, audiences, issuers.keys), live, fallback, parts.clock)


def _watched_labels(pods: Pods, tolerance: float, namespace: str, name: str, uid: str, account: str) -> Labels | None:
    """What the watch has of this very pod, as long as it is believed: no question for each caller, nor in an outage."""
    found = pods.get(namespace, name)
    known = found is not None and found.uid == uid and found.service_account == account
    return found.labels if found is not None and known and not pods.disbelief(tolerance) else None


async def all_set(events: Iterable[asyncio.Event], seconds: float) -> bool:
    """Wait for all of them, ``seconds`` at most; tell whether they are set."""
    try:
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()
    except TimeoutError:
        return False
    return True


def domain_of(cluster: Cluster, config: Config) -> TrustDomain:
    """The trust domain of a cluster's callers: its own, or the mesh's."""
    return TrustDomain(cluster.trust_domain or config.trust_domain)


def trusted_in(cluster: Cluster, config: Config) -> list[str]:
    """The node proxies that may act for others in a cluster: those named for it, or the mesh's."""
    own = cluster.trusted_node_accounts
    return config.ambient.trusted_node_accounts if own is None else own


def _audiences(cluster: Cluster, config: Config) -> list[str]:
    return cluster.audiences or config.authentication.audiences


def _note(followed: Followed, tolerance: float) -> Note:
    name, collection = f"{followed.what} of cluster {followed.cluster}", followed.collection
    stale = collection.stale_for()
    if not collection.synced:
        return Note(False, f"{name}: not known yet: {collection.watch.fault}")
    if stale:
        left = max(0.0, tolerance - stale)
        text = f"{name}: not watched for {stale:.0f} s, believed for {left:.0f} s more: {collection.watch.fault}"
        return Note(False, text)
    return Note(True, f"{name}: {len(collection)} known")
