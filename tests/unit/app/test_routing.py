"""Routes and guards from the configuration."""

from dataclasses import replace
from datetime import timedelta

from signer.app.routing import build_guards, build_router, guard_policy
from signer.config.model import BackendSection, Config, Guard, Limits, MatchSection, RouteSection
from signer.core.types import Grant, PodRef
from tests.support.clock import SECOND, FakeClock
from tests.support.fakes import CALLER, FakeBackend


def test_defaults() -> None:
    """No limit on the rate; a second is time enough to call a backend slow."""
    policy = guard_policy(Guard(), Limits())
    assert (policy.concurrency, policy.waiting, policy.attempts) == (64, 256, 2)
    assert (policy.rate, policy.timeout, policy.fair) == (None, None, 1.0)
    assert (policy.breaker_failures, policy.breaker_open) == (5, 10.0)


def test_rate_without_a_burst() -> None:
    """One second's worth at once."""
    assert guard_policy(Guard(rate=20.0), Limits()).burst == 20.0
    assert guard_policy(Guard(rate=20.0, burst=3), Limits()).burst == 3


def test_what_is_called_slow() -> None:
    """Never more than the server itself gives a backend: its breaker could not open."""
    assert guard_policy(Guard(timeout=timedelta(milliseconds=200)), Limits()).fair == 0.2
    assert guard_policy(Guard(), Limits(deadline=2 * SECOND)).fair == 0.5


def test_labels_of_a_route() -> None:
    """Each key with its glob; the route leads to the guarded backend."""
    match = MatchSection(pod_labels={"tier": "gold*"})
    config = Config(
        backends={"one": BackendSection()}, routes=[RouteSection(name="gold", match=match, backends=["one"])]
    )
    guards = build_guards(config, {"one": FakeBackend("one")}, FakeClock())
    router = build_router(config, guards)
    assert router.needs_pod_labels
    caller = replace(CALLER, pod=PodRef("p", "u", None, (("tier", "gold"),)))
    route = router.route(Grant(CALLER.identity, caller), "")
    assert (route.name, route.backends) == ("gold", (guards["one"],))
