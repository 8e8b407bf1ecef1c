"""Rules and quotas on callers, from the configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from signer.authz.rules import Rule, Rules
from signer.config.callers import QuotaSection, QuotasSection, RuleSection
from signer.core.globs import Globs
from signer.core.ports import Clock
from signer.core.types import Caller, Grant
from signer.issue.quota import PODS, Quota, QuotaPolicy, Quotas, expected
from signer.issue.route import Router


@dataclass(slots=True)
class Policing:
    """What decides by a caller's origin, as it is now."""

    router: Router
    rules: Rules
    roots_differ: Callable[[str], bool]
    """Whether answers in a namespace carry other roots in other clusters."""

    def labels_needed(self) -> bool:
        """Whether any route looks at the labels of callers' pods."""
        return self.router.needs_pod_labels

    def open_question(self, caller: Caller, signer_name: str) -> str:
        """Say what of it cannot be told for a caller by certificate that asks for a signer; empty where all can."""
        grant = Grant(caller.identity, caller)
        if asked := self.rules.open_question(grant) or self.router.open_question(grant, signer_name):
            return asked
        if not caller.cluster and self.roots_differ(caller.identity.namespace):
            return "trust.roots look at the cluster, which is not known of this one; a token tells"
        return ""


def build_rules(sections: Sequence[RuleSection]) -> Rules:
    """Make the rules, in their order; one without a name is known by its position, from 0."""
    return Rules([_rule(section, i) for i, section in enumerate(sections)])


def _rule(section: RuleSection, index: int) -> Rule:
    return Rule(
        name=section.name or str(index),
        allow=section.effect == "allow",
        identities=Globs(tuple(section.identities)),
        namespaces=Globs(tuple(section.namespaces)),
        clusters=Globs(tuple(section.clusters)),
        methods=frozenset(section.methods),
    )


def build_quotas(section: QuotasSection, default_ttl: timedelta, clock: Clock) -> Quotas | None:
    """Make the quotas; None where nobody is to be counted.

    Args:
        section: The settings.
        default_ttl: The lifetime by which rates are reckoned that are not given; where routes differ, the shortest.
        clock: Time.
    """
    return Quotas(quota_policy(section, default_ttl), clock) if section.enabled else None


def quota_policy(section: QuotasSection, default_ttl: timedelta) -> QuotaPolicy:
    """Fill in what each kind's settings leave open."""
    return QuotaPolicy(
        identity=_quota(section.identity, expected(default_ttl, PODS["identity"])),
        node=_quota(section.node, expected(default_ttl, PODS["node"])),
        namespace=_quota(section.namespace, expected(default_ttl, PODS["namespace"])),
    )


def _quota(section: QuotaSection, default: Quota) -> Quota:
    """Each of the two stands for itself: who gives a rate keeps the burst of a rollout."""
    rate = default.rate if section.rate is None else section.rate
    return Quota(rate, default.burst if section.burst is None else float(section.burst))
