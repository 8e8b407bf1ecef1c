"""Objects from the configuration: backends, the bundle, the source of the serving certificate."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import backends as registry
from signer.authz.deny import DenyService
from signer.config.deny import parse_deny_list
from signer.config.load import Loaded
from signer.config.model import Config
from signer.core.events import Meter
from signer.core.globs import Globs
from signer.core.ports import Backend, Clock
from signer.core.spec import BackendContext
from signer.core.types import ServerNames
from signer.observe.health import Health
from signer.trust.bundle import LiveBundle
from signer.trust.compose import TrustPolicy
from signer.trust.distribution.distributor import DistributionPlan
from signer.trust.extras import ExtraRoots, ExtraRule
from signer.trust.serving import PairSource
from signer.trust.serving_sources import FromBackend, FromFiles, ServingPlan


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
        max_ttl=longest_ttl(config),
        grace_ratio=config.certificates.grace_ratio,
        kubeconfig=local.kubeconfig,
        kube_context=local.context,
        meter=meter,
        serving=_server_names(config) if name == serving_backend(config) else ServerNames(),
    )


def serving_backend(config: Config) -> str | None:
    """Name the backend that signs the server's own certificate; None where that comes from files."""
    if config.serving.certificate_file is not None:
        return None
    return config.serving.backend or first_backend(config)


def first_backend(config: Config) -> str:
    """The one that signs for the signer itself where nothing else is said: the first one of the first route."""
    return config.routes[0].backends[0] if config.routes else next(iter(config.backends))


def _server_names(config: Config) -> ServerNames:
    return ServerNames(tuple(config.serving.dns_names), tuple(config.serving.ip_addresses))


def build_bundle(config: Config, backends: Mapping[str, Backend], health: Health, clock: Clock) -> LiveBundle:
    """Make the trust bundle; nobody has been asked yet."""
    policy = trust_policy(config)
    rules = [
        ExtraRule(rule.file, Globs(tuple(rule.clusters)), Globs(tuple(rule.namespaces))) for rule in config.trust.roots
    ]
    extras = ExtraRoots(rules, clock, policy.distrust)
    return LiveBundle(list(backends.values()), health, clock, policy, extras)


def trust_policy(config: Config) -> TrustPolicy:
    """Read what the operator says of roots; by default one outlives its last leaf."""
    pins = {name: frozenset(section.pins) for name, section in config.backends.items() if section.pins}
    retention = config.trust.retention
    return TrustPolicy(
        longest_ttl(config) if retention is None else retention,
        config.trust.settle if config.distribution.enabled else timedelta(0),
        frozenset(config.trust.distrust),
        pins,
    )


def distribution_plan(config: Config) -> DistributionPlan:
    """Say what is written to which namespaces."""
    settings = config.distribution
    return DistributionPlan(settings.config_map, settings.namespace_selector, settings.concurrency)


def longest_ttl(config: Config) -> timedelta:
    """The longest lifetime that any route allows."""
    base = config.certificates.max_ttl
    return max([base, *(route.profile.max_ttl or base for route in config.routes)])


def shortest_default_ttl(config: Config) -> timedelta:
    """The shortest lifetime that callers get by default: what quotas are reckoned by."""
    base = config.certificates.default_ttl
    return min([base, *(route.profile.default_ttl or base for route in config.routes)])


async def build_deny(config: Config, clock: Clock) -> DenyService | None:
    """Read the deny list, where there is to be one.

    Raises:
        DenyFileUnusable: It cannot be used.
    """
    if config.deny.file is None:
        return None
    deny = DenyService(config.deny.file, parse_deny_list, clock)
    await deny.start()
    return deny


def build_source(config: Config, backends: Mapping[str, Backend], bundle: LiveBundle, clock: Clock) -> PairSource:
    """Say where the serving certificate comes from."""
    serving = config.serving
    if serving.certificate_file is not None and serving.key_file is not None:
        return FromFiles(serving.certificate_file, serving.key_file, clock)
    plan = ServingPlan(_server_names(config), serving.ttl, config.certificates.grace_ratio)
    return FromBackend(backends[serving_backend(config) or ""], bundle, plan, clock)
