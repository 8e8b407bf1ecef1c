"""The operator's rules on callers: who may have a certificate at all. The first rule that matches decides.

Where no rule matches, everybody is allowed as long as no rule allows anybody: a list of denials alone takes those away
and leaves the rest. With one rule that allows, the list says who is in, and everybody else is denied.

Globs know nothing of slashes: their ``*``, ``?`` and ``[!...]`` match ``/`` too, so ``spiffe://cluster.local/ns/shop*``
would hold for ``shopping`` as well, and ``spiffe://*/sa/api`` for every namespace. An identity has exactly six slashes;
a pattern that spells out all six leaves none for a wildcard to match. So patterns of identities must, and others are
refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from signer.core.globs import ANY, Globs
from signer.core.types import Grant

Method: TypeAlias = Literal["token-review", "offline", "client-certificate", "development", "impersonation"]
"""How a caller was proven; ``impersonation`` is no proof, but that it acts for another."""
IMPERSONATION = "impersonation"

# One part of a pattern: plain characters, and sets that are closed before the next slash.
_PART = r"(?:[^\[\]/]|\[[^\[\]/]+\])+"
_IDENTITY_GLOB = re.compile(rf"spiffe://{_PART}/ns/{_PART}/sa/{_PART}")


def check_identity_glob(pattern: str) -> str:
    """Return a pattern for identities, if no wildcard of it can match across a slash.

    Raises:
        ValueError: It has not all parts of an identity; the message says how to write it.
    """
    if not _IDENTITY_GLOB.fullmatch(pattern):
        raise ValueError(
            "write patterns of identities with all their parts, such as spiffe://cluster.local/ns/shop/sa/*;"
            f" this is {pattern[:80]!a}"
        )
    return pattern


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it does, and its conditions, all of which must hold. An empty condition holds for everybody.

    Attributes:
        name: For logs, the audit and ``explain``.
        allow: Whether it allows or denies.
        identities: Patterns of granted identities as text, each with all its parts.
        namespaces: Patterns of the granted identity's namespace.
        clusters: Patterns of the id of the cluster that vouched for the caller.
        methods: How the caller was proven, any of these. ``impersonation`` holds for who acts for another (ztunnel),
            however it was proven; the other methods hold for such a caller too.

    Raises:
        ValueError: A pattern of ``identities`` lacks a part.
    """

    name: str
    allow: bool
    identities: Globs = ANY
    namespaces: Globs = ANY
    clusters: Globs = ANY
    methods: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for pattern in self.identities.patterns:
            check_identity_glob(pattern)

    def holds(self, grant: Grant) -> bool:
        """Tell whether a grant is this rule's."""
        return self._holds_but_for_cluster(grant) and self.clusters.matches(grant.caller.cluster)

    def hangs_on_cluster(self, grant: Grant) -> bool:
        """Tell whether it would hold in some clusters only, and nobody knows which one the caller is of."""
        return not grant.caller.cluster and not self.clusters.all_match and self._holds_but_for_cluster(grant)

    def _holds_but_for_cluster(self, grant: Grant) -> bool:
        return (
            self.identities.matches(str(grant.identity))
            and self.namespaces.matches(grant.identity.namespace)
            and (not self.methods or not self.methods.isdisjoint(_methods(grant)))
        )


def _methods(grant: Grant) -> tuple[str, ...]:
    """What a rule's methods may name of a grant."""
    return (grant.caller.method, IMPERSONATION) if grant.impersonated else (grant.caller.method,)


class Rules:
    """The rules in order. Pure and never raises: for the pipeline, and for ``explain``."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._open = not any(rule.allow for rule in self._rules)

    def fault(self, grant: Grant) -> str | None:
        """Say, for operators only, why a grant is denied; None if it is not."""
        allowed, why = self.verdict(grant)
        return None if allowed else why

    def open_question(self, grant: Grant) -> str:
        """Say what must be known of a caller by certificate for a verdict, and is not; empty where it can be given."""
        for rule in self._rules:
            if rule.hangs_on_cluster(grant):
                return f"rule {rule.name!a} looks at the cluster, which is not known of this one; a token tells"
            if rule.holds(grant):
                break
        return ""

    def verdict(self, grant: Grant) -> tuple[bool, str]:
        """Tell whether a grant is allowed, and which rule says so."""
        for rule in self._rules:
            if rule.holds(grant):
                return rule.allow, f"rule {rule.name!a} {'allows' if rule.allow else 'denies'} {_who(grant)}"
        return self._open, self._unmatched(grant)

    def _unmatched(self, grant: Grant) -> str:
        if not self._rules:
            return "there are no rules"
        if self._open:
            return f"no rule denies {_who(grant)}, and none allows: who is not denied is allowed"
        return f"no rule allows {_who(grant)}: with rules that allow, everybody else is denied"


def _who(grant: Grant) -> str:
    """The parts of a grant that rules look at."""
    return f"{grant.identity} of cluster {grant.caller.cluster[:80]!a} by {' and '.join(_methods(grant))}"
