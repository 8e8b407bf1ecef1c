"""Routing: the first rule that matches, and named signers only where they are opened."""

from dataclasses import replace
from typing import Any

import pytest

from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, NoRoute, PolicyDenied
from signer.core.globs import Globs
from signer.core.identity import SpiffeId
from signer.core.types import Caller, Grant, PodRef
from signer.issue.guard import Guarded, GuardPolicy
from signer.issue.profile import Profile
from signer.issue.route import Match, Route, Router
from tests.support.clock import FakeClock
from tests.support.fakes import CALLER, PROFILE, FakeBackend


def _grant(uri: str = "spiffe://cluster.local/ns/payments/sa/api", cluster: str = "Kubernetes") -> Grant:
    return Grant(SpiffeId.parse(uri), replace(CALLER, cluster=cluster))


def _route(name: str, match: Match) -> Route:
    return Route(name, match, (Guarded(FakeBackend(name), GuardPolicy(), FakeClock()),), PROFILE)


def _globs(*patterns: str) -> Globs:
    return Globs(patterns)


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(), True),
        (Match(namespaces=_globs("payments")), True),
        (Match(namespaces=_globs("billing")), False),
        (Match(service_accounts=_globs("a*")), True),
        (Match(service_accounts=_globs("b*")), False),
        (Match(clusters=_globs("Kubernetes")), True),
        (Match(clusters=_globs("east")), False),
        (Match(trust_domains=_globs("cluster.local")), True),
        (Match(trust_domains=_globs("*.example")), False),
        (Match(namespaces=_globs("payments"), service_accounts=_globs("b*")), False),
    ],
)
def test_conditions(match: Match, holds: bool) -> None:
    """All conditions of a rule must hold."""
    assert match.holds(_grant(), "") is holds


@pytest.mark.parametrize(
    ("opened", "asked", "holds"),
    [
        (frozenset(), "", True),
        (frozenset(), "vault", False),
        (frozenset({"vault"}), "vault", True),
        (frozenset({"vault"}), "vaul", False),
        (frozenset({"vault"}), "VAULT", False),
        (frozenset({"vault"}), "", False),
        (frozenset({"*"}), "vault", False),
    ],
)
def test_named_signers(opened: frozenset[str], asked: str, holds: bool) -> None:
    """Exact names, and only where the rule opens them."""
    assert Match(cert_signers=opened).holds(_grant(), asked) is holds


def _labelled(*labels: tuple[str, str], impersonated: bool = False) -> Grant:
    caller = replace(CALLER, pod=PodRef("api-0", "uid-0", "node-0", labels))
    return Grant(CALLER.identity, caller, impersonated)


_TIERED = Match(pod_labels=(("tier", _globs("gold*")), ("app", _globs("*"))))


@pytest.mark.parametrize(
    ("labels", "holds"),
    [
        ((("app", "api"), ("tier", "gold")), True),
        ((("app", ""), ("tier", "golden")), True),
        ((("app", "api"), ("tier", "old-gold")), False),
        ((("tier", "gold"),), False),
        ((("app", "api"), ("TIER", "gold")), False),
        ((), False),
    ],
)
def test_pod_labels(labels: tuple[tuple[str, str], ...], holds: bool) -> None:
    """All of them must be there, each with a value that its glob matches."""
    assert _TIERED.holds(_labelled(*labels), "") is holds


def test_labels_of_a_node_proxy_are_not_its_workloads() -> None:
    """They would be lent to every pod of the node."""
    gold = (("app", "api"), ("tier", "gold"))
    assert _TIERED.holds(_labelled(*gold), "")
    assert not _TIERED.holds(_labelled(*gold, impersonated=True), "")


@pytest.mark.parametrize("pod", [None, PodRef("api-0", "uid-0")])
def test_labels_that_are_not_known(pod: PodRef | None) -> None:
    """No rule that asks for them holds; a legacy token has no pod."""
    assert not _TIERED.holds(Grant(CALLER.identity, replace(CALLER, pod=pod)), "")


def test_labels_that_were_not_looked_up() -> None:
    """Rules changed since the caller was proven: to fall through to a later rule would be another decision."""
    router = Router([_route("gold", _TIERED), _route("rest", Match())])
    assert router.needs_pod_labels
    with pytest.raises(AuthenticationUnavailable, match="have just begun to look at pod labels"):
        router.route(_grant(), "")
    assert router.route(Grant(CALLER.identity, replace(CALLER, pod=None)), "").name == "rest"
    assert not Router([_route("rest", Match())]).needs_pod_labels


def test_first_match_decides() -> None:
    """The order of the rules is the order of the file."""
    router = Router([_route("one", Match(namespaces=_globs("pay*"))), _route("two", Match())])
    assert router.route(_grant(), "").name == "one"
    assert router.route(_grant("spiffe://cluster.local/ns/other/sa/api"), "").name == "two"


def test_the_granted_identity_is_routed() -> None:
    """Not that of the caller: a node proxy asks for its workloads."""
    router = Router([_route("ztunnel", Match(namespaces=_globs("istio-system"))), _route("rest", Match())])
    assert router.route(_grant(), "").name == "rest"


def test_the_callers_cluster_is_routed() -> None:
    """A cluster may have its own signer."""
    router = Router([_route("east", Match(clusters=_globs("east"))), _route("rest", Match())])
    assert router.route(_grant(cluster="east"), "").name == "east"


@pytest.mark.parametrize("signer", ["", "unknown", "x\n" * 200])
def test_no_route(signer: str) -> None:
    """The refusal says for whom, and quotes what was asked for, safely."""
    with pytest.raises(NoRoute, match=r"no route matches spiffe://cluster\.local/ns/payments/sa/api") as refusal:
        Router([_route("one", Match(namespaces=_globs("billing")))]).route(_grant(), signer)
    assert refusal.value.reason.isprintable()
    assert len(refusal.value.reason) < 400


def test_a_signer_for_others() -> None:
    """It exists, but not for this caller: denied by policy, not a hole in the configuration."""
    match = Match(namespaces=_globs("billing"), cert_signers=frozenset({"vault"}))
    router = Router([_route("vault", match), _route("rest", Match())])
    with pytest.raises(PolicyDenied, match="may not ask for CertSigner 'vault'"):
        router.route(_grant(), "vault")
    assert router.route(_grant("spiffe://cluster.local/ns/billing/sa/x"), "vault").name == "vault"


@pytest.mark.parametrize(
    ("key", "allowed"), [("RSA-2048", False), ("P-256", True), ("P-384", False), ("RSA-4096", False)]
)
def test_profile_key_types(key: str, allowed: bool) -> None:
    """A route may narrow what keys are certified."""
    profile = Profile(PROFILE.validity, frozenset({"P-256"}))
    assert (profile.key_fault(key) is None) is allowed


def test_profile_default_key_types() -> None:
    """By default all that may be certified at all."""
    assert [PROFILE.key_fault(key) for key in ("RSA-2048", "RSA-4096", "P-256", "P-384")] == [None] * 4


BY_CERTIFICATE = Caller(CALLER.identity, "client-certificate", "", serial=1, issued_to=None)
QUESTIONS: dict[str, tuple[Match, dict[str, Any], str]] = {
    "no condition": (Match(), {}, ""),
    "any cluster": (Match(clusters=_globs("*")), {}, ""),
    "a cluster": (Match(clusters=_globs("far")), {}, "the cluster"),
    "a cluster, for others": (Match(clusters=_globs("far"), namespaces=_globs("billing")), {}, ""),
    "a cluster, for a signer": (Match(clusters=_globs("far"), cert_signers=frozenset({"x"})), {}, ""),
    "a cluster, known": (Match(clusters=_globs("far")), {"cluster": "near"}, ""),
    "labels": (Match(pod_labels=(("tier", _globs("gold")),)), {}, "the pod's labels"),
    "labels of a known pod": (Match(pod_labels=(("tier", _globs("gold")),)), {"issued_to": "uid"}, "the pod's labels"),
    "labels, in the only cluster": (
        Match(pod_labels=(("tier", _globs("gold")),)),
        {"cluster": "near"},
        "the pod's labels",
    ),
    "labels of a known pod there": (
        Match(pod_labels=(("tier", _globs("gold")),)),
        {"cluster": "near", "issued_to": "uid"},
        "the pod's labels",
    ),
    "labels of no pod there": (
        Match(pod_labels=(("tier", _globs("gold")),)),
        {"cluster": "near", "issued_to": ""},
        "",
    ),
    "labels of no pod": (Match(pod_labels=(("tier", _globs("gold")),)), {"issued_to": ""}, ""),
    "labels in another cluster": (
        Match(clusters=_globs("far"), pod_labels=(("tier", _globs("gold")),)),
        {"cluster": "near"},
        "",
    ),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_what_a_certificate_does_not_tell(case: str) -> None:
    """To fall through to the next rule would be another decision than the token's; what comes first decides first."""
    match, known, asked = QUESTIONS[case]
    grant = Grant(CALLER.identity, replace(BY_CERTIFICATE, **known))
    router = Router([_route("first", match), _route("rest", Match())])
    if not asked:
        assert router.open_question(grant, "") == ""
        assert router.route(grant, "").name in ("first", "rest")
        return
    told = f"route 'first' looks at {asked}, which is not known of this one; a token tells"
    assert router.open_question(grant, "") == told
    with pytest.raises(AuthenticationFailed, match=f"client certificate: {told}"):
        router.route(grant, "")
    assert Router([_route("rest", Match()), _route("first", match)]).open_question(grant, "") == ""


def test_a_named_signer_asks_no_less() -> None:
    """Nor more: rules that cannot hold for it have no say."""
    match = Match(clusters=_globs("far"), cert_signers=frozenset({"x"}))
    other = Match(cert_signers=frozenset({"x"}))
    router = Router([_route("first", match), _route("next", other), _route("r", Match())])
    grant = Grant(CALLER.identity, BY_CERTIFICATE)
    assert router.route(grant, "").name == "r"
    assert router.open_question(grant, "") == ""
    with pytest.raises(AuthenticationFailed, match="route 'first' looks at the cluster"):
        router.route(grant, "x")
    plain = Router([_route("gold", Match(pod_labels=(("tier", _globs("gold")),))), _route("x", other)])
    assert plain.open_question(grant, "x") == ""
    assert plain.open_question(grant, "") != ""


def test_tokens_leave_no_question() -> None:
    """Without a pod, labels do not hold; that is known."""
    match = Match(pod_labels=(("tier", _globs("gold")),))
    assert Router([_route("first", match)]).open_question(Grant(CALLER.identity, replace(CALLER, pod=None)), "") == ""
