"""How callers are proven and what they may have, from the configuration: one authenticator a cluster."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from signer.app.one_cluster import ClusterParts, Followed, Service, authenticator_of, judged_by
from signer.app.policing import Policing
from signer.app.remote_wiring import follow_remote_secrets
from signer.authn.by_proof import ByProof
from signer.authn.client_cert import CertificatePolicy, ClientCertificates
from signer.authn.clusters import ByCluster
from signer.authn.development import DevelopmentIssuer
from signer.authn.origins import Origins
from signer.authn.proofs import Proofs
from signer.authz.ambient import NodeProxies
from signer.config.clusters import Cluster
from signer.config.model import Config
from signer.core.chain import TrustBundle
from signer.core.identity import TrustDomain
from signer.core.ports import Authenticator, Clock
from signer.core.types import Grant
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.no_cluster import NoCluster
from signer.observe.health import Note


@dataclass(slots=True)
class Callers:
    """How callers are proven.

    Attributes:
        authenticator: Of all clusters.
        proxies: Who may act for others, by cluster.
        services: What follows the clusters, by name; to be run while the server runs.
        synced: Each is set once something is known for the first time: the objects of a configured cluster that are
            followed, its issuer, the remote secrets.
        notes: Lines of the verbose report.
        followed: What is known from watches, of all clusters.
        remotes: Of each cluster of a remote secret, whether it is ready.
        closers: What must be closed at the end.
    """

    authenticator: ByCluster
    proxies: Mapping[str, NodeProxies] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    synced: list[asyncio.Event] = field(default_factory=list)
    notes: Callable[[], list[Note]] = list
    followed: Callable[[], list[Followed]] = list
    remotes: Callable[[], Mapping[str, bool]] = dict
    closers: list[Callable[[], Any]] = field(default_factory=list)


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
        parts = ClusterParts(config, clock, count, labels_needed, opened)
        for index, cluster in enumerate(config.clusters):
            if issuer is not None:
                authenticators[cluster.id] = judged_by(issuer, cluster, parts)
            else:
                api = await _connect(index, cluster, opened)
                authenticators[cluster.id] = authenticator_of(cluster, api, parts)
        by_cluster = ByCluster(config.clusters[0].id, authenticators, aliases=aliases_of(config))
        if config.remote_secrets.enabled and issuer is None:
            local = await _connect(0, config.clusters[0], opened)
            follow_remote_secrets(local, by_cluster, parts, {*authenticators, *aliases_of(config)})
        closers = [opened.pop_all().aclose]
        return Callers(
            authenticator=by_cluster,
            proxies=parts.proxies,
            services=parts.services,
            synced=parts.synced,
            notes=parts.notes,
            followed=parts.all_followed,
            remotes=parts.remotes,
            closers=closers,
        )


@dataclass(slots=True)
class Memory:
    """What this process knows of proofs and of the certificates that it has issued."""

    clock: Clock
    proofs: Proofs
    origins: Origins

    @classmethod
    def empty(cls, clock: Clock) -> Self:
        """Of a process that has just begun."""
        return cls(clock, Proofs(clock), Origins())

    def issued(self, grant: Grant, serial: int) -> None:
        """Note a certificate that is handed out."""
        self.origins.issued(grant, serial)
        self.proofs.issued(grant)


def build_authenticator(
    config: Config, callers: Callers, roots: Callable[[], TrustBundle], policing: Policing, memory: Memory
) -> Authenticator:
    """Put client certificates before the tokens, where there is a port for them."""
    if config.listen.mtls is None:
        return callers.authenticator
    domain, age = TrustDomain(config.trust_domain), config.authentication.certificate_age
    alone = len(config.clusters) == 1 and not config.remote_secrets.enabled
    policy = CertificatePolicy(domain, config.clusters[0].id if alone else "", age)
    certificates = ClientCertificates(
        policy,
        roots,
        memory.proofs,
        memory.clock,
        memory.origins,
        callers.authenticator.knows,
        policing.open_question,
    )
    return ByProof(certificates, callers.authenticator, memory.proofs)


def aliases_of(config: Config) -> dict[str, str]:
    """Every other name of a cluster, and its id."""
    return {alias: cluster.id for cluster in config.clusters for alias in cluster.aliases}


async def _connect(index: int, cluster: Cluster, opened: AsyncExitStack) -> KubeApi:
    try:
        api = await connect(cluster.kubeconfig, cluster.context, cluster.id)
    except NoCluster as error:
        raise type(error)(f"clusters.{index}.kubeconfig: {error}") from None
    opened.push_async_callback(api.close)
    return api
