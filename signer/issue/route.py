"""Which backend signs for whom: the first matching rule decides."""

from collections.abc import Sequence
from dataclasses import dataclass

from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, NoRoute, PolicyDenied
from signer.core.globs import ANY, Globs
from signer.core.types import Grant
from signer.issue.guard import Guarded
from signer.issue.profile import Profile


@dataclass(frozen=True, slots=True)
class Match:
    """The conditions of one rule; all of them must hold.

    ``cert_signers`` is exact and opens the named signers to this rule's callers: a request that names a signer matches
    no rule that does not list it.

    ``pod_labels`` are of the caller's pod, so they hold only where these are known and the caller asks for itself: one
    that acts for another (ztunnel) would lend its own pod's labels to every workload of its node.
    """

    namespaces: Globs = ANY
    service_accounts: Globs = ANY
    clusters: Globs = ANY
    trust_domains: Globs = ANY
    cert_signers: frozenset[str] = frozenset()
    pod_labels: tuple[tuple[str, Globs], ...] = ()

    def holds(self, grant: Grant, signer_name: str) -> bool:
        """Tell whether a grant, asking for ``signer_name`` (empty for none), is this rule's."""
        return (
            self._names_hold(grant, signer_name)
            and self.clusters.matches(grant.caller.cluster)
            and (not self.pod_labels or self._labels_hold(grant))
        )

    def open_question(self, grant: Grant, signer_name: str) -> str:
        """Say what this rule asks of a caller by certificate that nobody knows; empty where it can be told.

        A certificate does not say where its bearer was proven first (``Caller.cluster``, ``Caller.issued_to``).
        """
        if grant.caller.tells_origin:
            return ""
        no_cluster = not grant.caller.cluster and not self.clusters.all_match
        if not self._names_hold(grant, signer_name) or not (no_cluster or self.clusters.matches(grant.caller.cluster)):
            return ""
        if no_cluster:
            return "the cluster"
        return "the pod's labels" if self.pod_labels and grant.caller.issued_to != "" else ""

    def _names_hold(self, grant: Grant, signer_name: str) -> bool:
        identity = grant.identity
        return (
            (signer_name in self.cert_signers if (signer_name or self.cert_signers) else True)
            and self.namespaces.matches(identity.namespace)
            and self.service_accounts.matches(identity.service_account)
            and self.trust_domains.matches(identity.trust_domain.name)
        )

    def _labels_hold(self, grant: Grant) -> bool:
        pod = grant.caller.pod
        if grant.impersonated or pod is None or pod.labels is None:
            return False
        labels = dict(pod.labels)
        return all(key in labels and globs.matches(labels[key]) for key, globs in self.pod_labels)


@dataclass(frozen=True, slots=True)
class Route:
    """A rule: who it is for, which backends in order of preference, with which profile."""

    name: str
    match: Match
    backends: tuple[Guarded, ...]
    profile: Profile


class Router:
    """The rules in order."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._signers = frozenset(name for route in routes for name in route.match.cert_signers)
        self.needs_pod_labels = any(route.match.pod_labels for route in routes)
        """Whether any rule looks at the labels of callers' pods."""

    def route(self, grant: Grant, signer_name: str) -> Route:
        """Pick the first rule that matches.

        Raises:
            PolicyDenied: The caller names a signer that routes know, and none of them is for this caller.
            NoRoute: None matches.
            AuthenticationUnavailable: Rules look at labels, and this caller's were not looked up.
            AuthenticationFailed: They look at what a certificate does not tell.
        """
        if self.needs_pod_labels and _labels_missed(grant):
            raise AuthenticationUnavailable("routes have just begun to look at pod labels; this caller's are not known")
        route, asked = self._first(grant, signer_name)
        if asked:
            raise AuthenticationFailed(f"client certificate: {asked}")
        if route is not None:
            return route
        if signer_name in self._signers:
            raise PolicyDenied(f"{grant.identity} may not ask for CertSigner {signer_name!a}")
        asked = f" with CertSigner {signer_name[:100]!a}" if signer_name else ""
        raise NoRoute(f"no route matches {grant.identity} of cluster {grant.caller.cluster!a}{asked}")

    def open_question(self, grant: Grant, signer_name: str) -> str:
        """Say what must be known of a caller by certificate to pick its rule, and is not; empty where it can be."""
        return self._first(grant, signer_name)[1]

    def _first(self, grant: Grant, signer_name: str) -> tuple[Route | None, str]:
        """The first rule that matches; or, before there is one, what a rule asks that nobody knows."""
        for route in self._routes:
            if asked := route.match.open_question(grant, signer_name):
                return None, f"route {route.name!a} looks at {asked}, which is not known of this one; a token tells"
            if route.match.holds(grant, signer_name):
                return route, ""
        return None, ""


def _labels_missed(grant: Grant) -> bool:
    """Rules can change between proof and routing; to fall through to a later rule then would be another decision."""
    pod = grant.caller.pod
    return not grant.impersonated and pod is not None and pod.labels is None
