"""The keys that say which callers are served, how often, and who may act for others."""

from collections import Counter
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from signer.authz.rules import Method, check_identity_glob
from signer.config.section import Section
from signer.core.identity import InvalidIdentity, check_namespace, check_service_account

MAX_NODE_ACCOUNTS = 100


def _node_account(text: str) -> str:
    """Exact names, no globs: who is trusted here can have the identity of any workload on its node."""
    namespace, _, account = text.partition("/")
    try:
        check_namespace(namespace)
        check_service_account(account)
    except InvalidIdentity as error:
        raise ValueError(f"write NAMESPACE/SERVICE_ACCOUNT, such as istio-system/ztunnel: {error}") from None
    return text


# An empty pattern matches nothing, so that a rule which denies would deny nobody, in silence.
Glob: TypeAlias = Annotated[str, Field(min_length=1)]
IdentityGlob: TypeAlias = Annotated[str, AfterValidator(check_identity_glob)]
NodeAccounts: TypeAlias = Annotated[
    list[Annotated[str, AfterValidator(_node_account)]], Field(max_length=MAX_NODE_ACCOUNTS)
]


class RuleSection(Section):
    """A rule on callers: all of its conditions must hold; the first rule that matches decides."""

    name: str = ""
    """For logs, the audit and ``explain``, no two alike; its position, from 0, where empty."""
    effect: Literal["allow", "deny"]
    """What becomes of a caller that matches. With one ``allow`` among the rules, who matches none is denied."""
    identities: list[IdentityGlob] = []
    """Granted identities: globs with all parts, such as ``spiffe://cluster.local/ns/shop/sa/*``, so that no ``*`` can
    match across a slash; none given means all."""
    namespaces: list[Glob] = []
    """Namespaces of the granted identity (globs); none given means all."""
    clusters: list[Glob] = []
    """Ids of the callers' clusters (globs); none given means all."""
    methods: list[Method] = []
    """How the caller was proven, any of these; none given means all. ``impersonation`` holds for who acts for another
    (ztunnel), in whatever way it was proven."""


def _told_apart(rules: list[RuleSection]) -> list[RuleSection]:
    """Logs, the audit and ``explain`` know a rule by its name alone."""
    names = Counter(rule.name or str(i) for i, rule in enumerate(rules))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"two rules have the same name: {', '.join(twice)}")
    return rules


RuleSections: TypeAlias = Annotated[list[RuleSection], AfterValidator(_told_apart)]
"""What the key for the rules holds."""


class QuotaSection(Section):
    """How many certificates each one of a kind may ask of one replica; more are refused and tried again. What a
    backend fails to sign counts too: it was asked."""

    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Certificates a second, on average; none means what the kind's pods need by the default lifetime that the server
    started with, at least 1."""
    burst: Annotated[int, Field(ge=1)] | None = None
    """Certificates at once after a pause; none means one for each of the kind's pods: a rollout is no abuse."""


class QuotasSection(Section):
    """Bounds on each caller, so that one that restarts in a loop, or a stolen token, leaves the others their share."""

    enabled: bool = False
    """Whether certificates are counted. Off by default: a quota that nobody has thought of refuses in the one moment
    when a whole cluster starts anew."""
    identity: QuotaSection = QuotaSection()
    """For each identity, of all clusters; by default for 1000 pods."""
    node: QuotaSection = QuotaSection()
    """For each node of the callers' pods; by default for 250 pods. Callers whose node is not known are not counted."""
    namespace: QuotaSection = QuotaSection()
    """For each namespace of each cluster; by default for 5000 pods."""

    @model_validator(mode="after")
    def _said_whether(self) -> "QuotasSection":
        return self.switched()


class Ambient(Section):
    """Ambient mesh: node proxies that get certificates for the workloads of their node."""

    trusted_node_accounts: NodeAccounts = []
    """NAMESPACE/SERVICE_ACCOUNT of ztunnel, such as ``istio-system/ztunnel``; exact, at most 100. For each cluster that
    names none of its own. None given trusts nobody, since whoever is trusted can act for any workload on its node."""
