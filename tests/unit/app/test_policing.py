"""Rules and quotas from the configuration."""

from dataclasses import replace
from datetime import timedelta

import pytest

from signer.app.policing import build_quotas, build_rules, quota_policy
from signer.config.callers import QuotaSection, QuotasSection, RuleSection
from signer.core.errors import QuotaExceeded
from signer.core.types import Grant
from signer.issue.quota import Quota, QuotaPolicy
from tests.support.clock import DAY, FakeClock
from tests.support.fakes import CALLER, GRANT, IDENTITY


def test_no_rules() -> None:
    """Everybody is allowed."""
    assert build_rules([]).verdict(GRANT) == (True, "there are no rules")


def test_every_condition_gets_there() -> None:
    """Each alone decides."""
    whole = RuleSection(
        name="shop",
        effect="allow",
        identities=["spiffe://cluster.local/ns/payments/sa/*"],
        namespaces=["pay*"],
        clusters=["Kube*"],
        methods=["token-review"],
    )
    assert build_rules([whole]).fault(GRANT) is None
    others = {
        "identities": ["spiffe://cluster.local/ns/shop/sa/*"],
        "namespaces": ["shop"],
        "clusters": ["east"],
        "methods": ["offline"],
    }
    for key, value in others.items():
        section = whole.model_copy(update={key: value})
        assert (build_rules([section]).fault(GRANT) or "").startswith("no rule allows"), key


def test_order_and_positions() -> None:
    """The first match decides, and who has no name is known by its position."""
    rules = build_rules([RuleSection(effect="allow", clusters=["east"]), RuleSection(effect="deny")])
    assert rules.verdict(Grant(IDENTITY, replace(CALLER, cluster="east")))[1].startswith("rule '0' allows")
    assert (rules.fault(GRANT) or "").startswith("rule '1' denies")


def test_quotas_switched_off() -> None:
    assert build_quotas(QuotasSection(enabled=False), DAY, FakeClock()) is None


def test_quotas_by_default() -> None:
    """By the pods that each kind may have, and by the lifetime."""
    assert quota_policy(QuotasSection(), DAY) == QuotaPolicy(Quota(1.0, 1000.0), Quota(1.0, 250.0), Quota(1.0, 5000.0))
    short = quota_policy(QuotasSection(), timedelta(seconds=500))
    assert short == QuotaPolicy(Quota(4.0, 1000.0), Quota(1.0, 250.0), Quota(20.0, 5000.0))


def test_quotas_as_given() -> None:
    """A rate and a burst stand each for itself."""
    section = QuotasSection(
        enabled=True,
        identity=QuotaSection(rate=0.5),
        node=QuotaSection(burst=7),
        namespace=QuotaSection(rate=3, burst=1),
    )
    assert quota_policy(section, DAY) == QuotaPolicy(Quota(0.5, 1000.0), Quota(1.0, 7.0), Quota(3.0, 1.0))


def test_quotas_count_by_the_clock() -> None:
    clock = FakeClock()
    quotas = build_quotas(QuotasSection(enabled=True, node=QuotaSection(rate=0.1, burst=1)), DAY, clock)
    assert quotas is not None
    quotas.take(GRANT)
    with pytest.raises(QuotaExceeded, match="node 'Kubernetes/node-0'"):
        quotas.take(GRANT)
    clock.advance(10.0)
    quotas.take(GRANT)
