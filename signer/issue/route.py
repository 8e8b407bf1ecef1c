"""Which backend signs for whom: the first matching rule decides."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from signer.core.errors import NoRoute, PolicyDenied
from signer.core.ports import Backend
from signer.core.types import Grant
from signer.issue.profile import Profile


def _glob(pattern: str) -> re.Pattern[str]:
    """Compile once; ``fnmatch.translate`` anchors both ends, and case is never folded."""
    return re.compile(fnmatch.translate(pattern))


@dataclass(frozen=True, slots=True)
class Globs:
    """A set of shell-style patterns; an empty set matches everything."""

    patterns: tuple[str, ...] = ()
    compiled: tuple[re.Pattern[str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", tuple(map(_glob, self.patterns)))

    def matches(self, text: str) -> bool:
        """Tell whether any pattern matches the whole text."""
        return not self.compiled or any(p.fullmatch(text) for p in self.compiled)


@dataclass(frozen=True, slots=True)
class Match:
    """The conditions of one rule; all of them must hold.

    ``cert_signers`` is exact and opens the named signers to this rule's callers: a request that names a signer matches
    no rule that does not list it.
    """

    namespaces: Globs = Globs()
    service_accounts: Globs = Globs()
    clusters: Globs = Globs()
    trust_domains: Globs = Globs()
    cert_signers: frozenset[str] = frozenset()

    def holds(self, grant: Grant, signer_name: str) -> bool:
        """Tell whether a grant, asking for ``signer_name`` (empty for none), is this rule's."""
        identity = grant.identity
        return (
            (signer_name in self.cert_signers if (signer_name or self.cert_signers) else True)
            and self.namespaces.matches(identity.namespace)
            and self.service_accounts.matches(identity.service_account)
            and self.clusters.matches(grant.caller.cluster)
            and self.trust_domains.matches(identity.trust_domain.name)
        )


@dataclass(frozen=True, slots=True)
class Route:
    """A rule: who it is for, which backends in order of preference, with which profile."""

    name: str
    match: Match
    backends: tuple[Backend, ...]
    profile: Profile


class Router:
    """The rules in order."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._signers = frozenset(name for route in routes for name in route.match.cert_signers)

    def route(self, grant: Grant, signer_name: str) -> Route:
        """Pick the first rule that matches.

        Raises:
            PolicyDenied: The caller names a signer that routes know, and none of them is for this caller.
            NoRoute: None matches.
        """
        for route in self._routes:
            if route.match.holds(grant, signer_name):
                return route
        if signer_name in self._signers:
            raise PolicyDenied(f"{grant.identity} may not ask for CertSigner {signer_name!a}")
        asked = f" with CertSigner {signer_name[:100]!a}" if signer_name else ""
        raise NoRoute(f"no route matches {grant.identity} of cluster {grant.caller.cluster!a}{asked}")
