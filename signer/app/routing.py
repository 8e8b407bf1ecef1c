"""Routes from the configuration, and the guards of the backends that they lead to."""

from collections.abc import Mapping

from signer.config.model import Config, Guard, Limits, RouteSection
from signer.core.globs import Globs
from signer.core.ports import Backend, Clock
from signer.core.validity import ValidityPolicy
from signer.issue.guard import Guarded, GuardPolicy
from signer.issue.profile import Profile
from signer.issue.route import Match, Route, Router
from signer.issue.tally import Tally


def build_guards(
    config: Config, backends: Mapping[str, Backend], clock: Clock, tally: Tally | None = None
) -> dict[str, Guarded]:
    """Put each backend's guard in front of it."""
    return {
        name: Guarded(backend, guard_policy(config.backends[name].guard, config.limits), clock, tally)
        for name, backend in backends.items()
    }


def guard_policy(guard: Guard, limits: Limits) -> GuardPolicy:
    """Read a guard's settings; a quarter of the server's own deadline is time enough to call a backend slow."""
    return GuardPolicy(
        concurrency=guard.concurrency,
        waiting=guard.waiting,
        rate=guard.rate,
        burst=guard.burst or guard.rate or 1.0,
        attempts=guard.attempts,
        timeout=guard.timeout.total_seconds() if guard.timeout else None,
        breaker_failures=guard.breaker_failures,
        breaker_open=guard.breaker_open.total_seconds(),
        fair=min(1.0, limits.deadline.total_seconds() / 4, guard.timeout.total_seconds() if guard.timeout else 1.0),
    )


def build_router(config: Config, backends: Mapping[str, Guarded]) -> Router:
    """Make the routes; without any, the only backend signs for everybody.

    Raises:
        LookupError: A route leads to a backend that is not running; the message says what to do.
    """
    sections = config.routes or [RouteSection(name="default", backends=list(config.backends))]
    return Router([_route(config, section, i, backends) for i, section in enumerate(sections)])


def _route(config: Config, section: RouteSection, index: int, backends: Mapping[str, Guarded]) -> Route:
    match = Match(
        namespaces=Globs(tuple(section.match.namespaces)),
        service_accounts=Globs(tuple(section.match.service_accounts)),
        clusters=Globs(tuple(section.match.clusters)),
        trust_domains=Globs(tuple(section.match.trust_domains)),
        cert_signers=frozenset(section.match.cert_signers),
        pod_labels=tuple((key, Globs((glob,))) for key, glob in section.match.pod_labels.items()),
    )
    profile = Profile(validity_policy(config, section), frozenset(section.profile.key_types))
    return Route(section.name or str(index), match, tuple(_running(n, backends) for n in section.backends), profile)


def _running(name: str, backends: Mapping[str, Guarded]) -> Guarded:
    """Find a backend. Loading has refused names that are not defined, so a missing one was defined since the start."""
    if name not in backends:
        raise LookupError(f"backend {name!r} is new: restart to add it")
    return backends[name]


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
