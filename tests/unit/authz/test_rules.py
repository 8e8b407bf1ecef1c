"""Rules on callers: the first that matches, and what becomes of who matches none."""

from dataclasses import replace
from typing import Any

import pytest

from signer.authz.rules import Rule, Rules, check_identity_glob
from signer.core.globs import Globs
from signer.core.identity import SpiffeId
from signer.core.types import Caller, Grant
from tests.support.fakes import CALLER, GRANT

ZTUNNEL = replace(CALLER, identity=SpiffeId.parse("spiffe://cluster.local/ns/istio-system/sa/ztunnel"))
IMPERSONATED = Grant(GRANT.identity, ZTUNNEL, impersonated=True)
ALLOW, DENY = True, False


def _globs(*patterns: str) -> Globs:
    return Globs(patterns)


def _rule(name: str = "r", allow: bool = DENY, **conditions: Any) -> Rule:
    return Rule(name, allow, **conditions)


OURS = _globs("spiffe://cluster.local/ns/payments/sa/*")
CONDITIONS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"identities": OURS}, True),
    ({"identities": _globs("spiffe://*/ns/*/sa/[a-b]pi")}, True),
    ({"identities": _globs("spiffe://cluster.local/ns/payment/sa/*")}, False),
    ({"identities": _globs("spiffe://cluster.local/ns/PAYMENTS/sa/api")}, False),
    ({"identities": _globs("spiffe://other/ns/payments/sa/api", "spiffe://cluster.local/ns/payments/sa/api")}, True),
    ({"namespaces": _globs("pay*")}, True),
    ({"namespaces": _globs("pay")}, False),
    ({"clusters": _globs("Kubernetes")}, True),
    ({"clusters": _globs("kubernetes")}, False),
    ({"methods": frozenset({"token-review", "offline"})}, True),
    ({"methods": frozenset({"offline"})}, False),
    ({"methods": frozenset({"impersonation"})}, False),
    ({"identities": OURS, "namespaces": _globs("shop")}, False),
    ({"identities": OURS, "methods": frozenset({"development"})}, False),
]


@pytest.mark.parametrize(("conditions", "holds"), CONDITIONS)
def test_conditions(conditions: dict[str, Any], holds: bool) -> None:
    """All conditions of a rule must hold, and an empty one does."""
    assert _rule(**conditions).holds(GRANT) is holds


@pytest.mark.parametrize(
    ("methods", "holds"), [({"impersonation"}, True), ({"token-review"}, True), ({"offline"}, False), (set(), True)]
)
def test_methods_of_who_acts_for_another(methods: set[str], holds: bool) -> None:
    """It was proven too, and both may be named."""
    assert _rule(methods=frozenset(methods)).holds(IMPERSONATED) is holds


def test_rules_look_at_the_granted_identity() -> None:
    """Not at who acts for it."""
    assert _rule(namespaces=_globs("payments")).holds(IMPERSONATED)
    assert not _rule(namespaces=_globs("istio-system")).holds(IMPERSONATED)


SLIPS = [
    "*",
    "",
    "spiffe://*",
    "spiffe://cluster.local/ns/shop*",
    "spiffe://*/sa/api",
    "spiffe://cluster.local/*/shop/sa/x",
]
SLIPS += ["spiffe://cluster.local/ns/[a/b]/sa/x", "spiffe://cluster.local/ns/[a/sa/b]", "spiffe://a/ns/b/sa/c/d"]
SLIPS += ["SPIFFE://a/ns/b/sa/c", "spiffe:///ns/b/sa/c", "spiffe://a/ns/b/sa/", " spiffe://a/ns/b/sa/c", "a\n" * 500]


@pytest.mark.parametrize("pattern", SLIPS)
def test_no_wildcard_can_match_a_slash(pattern: str) -> None:
    """Patterns that lack a part are refused, and the message says how to write them."""
    with pytest.raises(ValueError, match="such as spiffe://cluster") as refusal:
        check_identity_glob(pattern)
    assert len(str(refusal.value)) < 400
    with pytest.raises(ValueError, match="with all their parts"):
        _rule(identities=_globs("spiffe://a/ns/b/sa/c", pattern))


@pytest.mark.parametrize("pattern", ["spiffe://*/ns/*/sa/*", "spiffe://a.b/ns/[!a]*/sa/?", "spiffe://a/ns/b/sa/c"])
def test_patterns_with_all_parts(pattern: str) -> None:
    assert check_identity_glob(pattern) == pattern


@pytest.mark.parametrize("uri", ["spiffe://cluster.local/ns/sa/sa/sa", "spiffe://cluster.local/ns/x/sa/ns.payments"])
def test_names_that_look_like_parts(uri: str) -> None:
    """A namespace may be called sa; a pattern still finds each part in its place."""
    grant = Grant(SpiffeId.parse(uri), CALLER)
    assert not _rule(identities=_globs("spiffe://*/ns/payments/sa/*")).holds(grant)
    assert _rule(identities=_globs("spiffe://*/ns/*/sa/*")).holds(grant)


CASES: dict[str, tuple[list[Rule], bool, str]] = {
    "none": ([], True, "there are no rules"),
    "denied": ([_rule("stop", DENY)], False, "rule 'stop' denies"),
    "allowed": ([_rule("go", ALLOW)], True, "rule 'go' allows"),
    "first allows": ([_rule("go", ALLOW, identities=OURS), _rule("stop", DENY)], True, "rule 'go' allows"),
    "first denies": ([_rule("stop", DENY, identities=OURS), _rule("go", ALLOW)], False, "rule 'stop' denies"),
    "second": ([_rule("a", DENY, clusters=_globs("x")), _rule("b", DENY)], False, "rule 'b' denies"),
    "not denied": ([_rule("stop", DENY, clusters=_globs("x"))], True, "no rule denies"),
    "not allowed": ([_rule("go", ALLOW, clusters=_globs("x"))], False, "no rule allows"),
    "neither": (
        [_rule("stop", DENY, clusters=_globs("x")), _rule("go", ALLOW, clusters=_globs("y"))],
        False,
        "no rule allows",
    ),
}


@pytest.mark.parametrize(("rules", "allowed", "why"), CASES.values(), ids=CASES)
def test_verdict(rules: list[Rule], allowed: bool, why: str) -> None:
    """The first match decides; one rule that allows makes denial the default."""
    told = Rules(rules).verdict(GRANT)
    assert told[0] is allowed
    assert told[1].startswith(why)
    assert Rules(rules).fault(GRANT) == (None if allowed else told[1])


def test_reason() -> None:
    """It names the rule and all that rules look at."""
    reason = Rules([_rule("no\nztunnel", methods=frozenset({"impersonation"}))]).fault(IMPERSONATED)
    assert reason == (
        "rule 'no\\nztunnel' denies spiffe://cluster.local/ns/payments/sa/api of cluster 'Kubernetes'"
        " by token-review and impersonation"
    )


def _unknown() -> Grant:
    return Grant(GRANT.identity, Caller(GRANT.identity, "client-certificate", "", serial=1, issued_to=None))


ASKS: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing": ({}, False),
    "any cluster": ({"clusters": Globs(("*",))}, False),
    "a cluster": ({"clusters": Globs(("far",))}, True),
    "a cluster, of tokens": ({"clusters": Globs(("far",)), "methods": frozenset({"offline"})}, False),
    "a cluster, of others": ({"clusters": Globs(("far",)), "namespaces": Globs(("nobody",))}, False),
}


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize("case", ASKS)
def test_what_a_certificate_does_not_tell(case: str, allow: bool) -> None:
    """A verdict that hangs on an unknown cluster is none; what comes first decides first."""
    conditions, asks = ASKS[case]
    rule, sure = Rule("r", allow, **conditions), Rule("sure", True)
    told = Rules([rule, sure]).open_question(_unknown())
    assert told == ("rule 'r' looks at the cluster, which is not known of this one; a token tells" if asks else "")
    assert Rules([sure, rule]).open_question(_unknown()) == ""
    assert Rules([rule]).open_question(GRANT) == ""
