"""Objects from the configuration: backends, routes, callers, the source of the serving certificate."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import backends as registry
from signer.authn.bearer import BearerAuthenticator, BearerPolicy, Judge
from signer.authn.clusters import ByCluster
from signer.authn.development import DevelopmentIssuer
from signer.authn.token_review import ReviewPolicy, TokenReviewer
from signer.config.load import Loaded
from signer.config.model import Cluster, Config, RouteSection
from signer.core.events import Meter
from signer.core.identity import TrustDomain
from signer.core.ports import Authenticator, Backend, Clock
from signer.core.spec import BackendContext
from signer.core.types import ServerNames
from signer.core.validity import ValidityPolicy
from signer.issue.profile import Profile
from signer.issue.route import Globs, Match, Route, Router
from signer.kube.api import KubeApi, NoCluster, connect
from signer.trust.bundle import LiveBundle
from signer.trust.serving import PairSource
from signer.trust.serving_sources import FromBackend, FromFiles, ServingPlan


@dataclass(frozen=True, slots=True)
class Callers:
    """How callers are proven: the authenticator of all clusters, and what must be closed at the end."""

    authenticator: Authenticator
    closers: list[Callable[[], Any]]


def build_backends(loaded: Loaded, clock: Clock, meter: Callable[[str], Meter]) -> dict[str, Backend]:
    """Make every configured backend; none does any I/O yet. ``meter`` gives each its own, by name."""
    return {
        name: registry.spec(type_name).build(settings, backend_context(loaded.config, name, clock, meter(name)))
        for name, (type_name, settings) in loaded.backends.items()
    }


def backend_context(config: Config, name: str, clock: Clock, meter: Meter) -> BackendContext:
    """Say what a backend is given beside its settings; the local cluster is the first one."""
    local = config.clusters[0]
    return BackendContext(
        name,
        clock,
        trust_domain=config.trust_domain,
        max_ttl=max(
            [config.certificates.max_ttl, *(r.profile.max_ttl or config.certificates.max_ttl for r in config.routes)]
        ),
        grace_ratio=config.certificates.grace_ratio,
        kubeconfig=local.kubeconfig,
        kube_context=local.context,
        meter=meter,
    )


def validity_policy(config: Config, route: RouteSection) -> ValidityPolicy:
    """Merge a route's profile over ``certificates``."""
    base, own = config.certificates, route.profile
    maximum = own.max_ttl or base.max_ttl
    return ValidityPolicy(
        default_ttl=min(own.default_ttl or base.default_ttl, maximum),
        max_ttl=maximum,
        over_max=own.over_max or base.over_max,
        jitter=base.ttl_jitter if own.ttl_jitter is None else own.ttl_jitter,
    )


def build_router(config: Config, backends: Mapping[str, Backend]) -> Router:
    """Make the routes; without any, the only backend signs for everybody.

    Raises:
        LookupError: A route leads to a backend that is not running; the message says what to do.
    """
    sections = config.routes or [RouteSection(name="default", backends=list(config.backends))]
    return Router([_route(config, section, i, backends) for i, section in enumerate(sections)])


def _route(config: Config, section: RouteSection, index: int, backends: Mapping[str, Backend]) -> Route:
    match = Match(
        namespaces=Globs(tuple(section.match.namespaces)),
        service_accounts=Globs(tuple(section.match.service_accounts)),
        clusters=Globs(tuple(section.match.clusters)),
        trust_domains=Globs(tuple(section.match.trust_domains)),
        cert_signers=frozenset(section.match.cert_signers),
    )
    profile = Profile(validity_policy(config, section), frozenset(section.profile.key_types))
    return Route(section.name or str(index), match, tuple(_running(n, backends) for n in section.backends), profile)


def _running(name: str, backends: Mapping[str, Backend]) -> Backend:
    """Find a backend. Loading has refused names that are not defined, so a missing one was defined since the start."""
    if name not in backends:
        raise LookupError(f"backend {name!r} is new: restart to add it")
    return backends[name]


async def build_callers(
    config: Config, clock: Clock, count: Callable[[str], None], issuer: DevelopmentIssuer | None
) -> Callers:
    """Connect to the API servers, or take the development issuer instead of all of them.

    Raises:
        NoCluster: A cluster has no usable connection configuration; what was opened for others is closed again.
    """
    authenticators: dict[str, Authenticator] = {}
    async with AsyncExitStack() as opened:
        for index, cluster in enumerate(config.clusters):
            judge = issuer or await _open_reviewer(config, index, cluster, opened)
            bearer = BearerAuthenticator(judge, _bearer_policy(config), clock, count)
            opened.push_async_callback(bearer.close)
            authenticators[cluster.id] = bearer
        return Callers(ByCluster(config.clusters[0].id, authenticators), [opened.pop_all().aclose])


async def _open_reviewer(config: Config, index: int, cluster: Cluster, opened: AsyncExitStack) -> Judge:
    api = await _connect(index, cluster)
    opened.push_async_callback(api.close)
    return _reviewer(config, cluster, api)


async def _connect(index: int, cluster: Cluster) -> KubeApi:
    try:
        return await connect(cluster.kubeconfig, cluster.context)
    except NoCluster as error:
        raise NoCluster(f"clusters.{index}.kubeconfig: {error}") from None


def _reviewer(config: Config, cluster: Cluster, api: KubeApi) -> TokenReviewer:
    settings = config.authentication
    domain = TrustDomain(config.trust_domain)
    return TokenReviewer(api, ReviewPolicy(cluster.id, domain, settings.audiences, settings.timeout.total_seconds()))


def _bearer_policy(config: Config) -> BearerPolicy:
    settings = config.authentication
    return BearerPolicy(settings.audiences, settings.cache.total_seconds(), settings.concurrency)


def build_source(config: Config, backends: Mapping[str, Backend], bundle: LiveBundle, clock: Clock) -> PairSource:
    """Say where the serving certificate comes from."""
    serving = config.serving
    if serving.certificate_file is not None and serving.key_file is not None:
        return FromFiles(serving.certificate_file, serving.key_file, clock)
    first = config.routes[0].backends[0] if config.routes else next(iter(backends))
    names = ServerNames(tuple(serving.dns_names), tuple(serving.ip_addresses))
    plan = ServingPlan(names, serving.ttl, config.certificates.grace_ratio)
    return FromBackend(backends[serving.backend or first], bundle, plan, clock)
