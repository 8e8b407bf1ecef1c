"""Which cluster's judge a credential goes to."""

from collections.abc import Callable, Mapping

from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from signer.core.ports import Authenticator
from signer.core.types import Caller, Credentials


class ByCluster:
    """Picks the authenticator by the caller's ``clusterid``; an empty one means the local cluster.

    An unknown id is a bad credential (istio: security/pkg/server/ca/authenticate/kubeauth/kube_jwt.go).

    Args:
        local: The local cluster's id.
        authenticators: By id, for as long as the process runs: nothing that is put later replaces one of them.
        aliases: Other names that callers may give, each with the id that it stands for; they win over ids.
    """

    def __init__(
        self, local: str, authenticators: Mapping[str, Authenticator], *, aliases: Mapping[str, str] | None = None
    ) -> None:
        self._local = local
        self._fixed = dict(authenticators)
        self._aliases = dict(aliases or {})
        self._changing: dict[str, Authenticator] = {}
        self._more: Callable[[], str] = lambda: ""

    def expect(self, more: Callable[[], str]) -> None:
        """Have ``more`` say, at any time, why there may be clusters that are not known now; empty where all are."""
        self._more = more

    def put(self, cluster: str, authenticator: Authenticator) -> None:
        """Have ``authenticator`` judge a cluster's callers from now on, in place of the one before."""
        self._changing[cluster] = authenticator

    def put_broken(self, cluster: str, why: str) -> None:
        """Say that a cluster is known and cannot be asked; ``why`` is for the operator, and holds no credential."""
        self._changing[cluster] = _Broken(f"cluster {cluster[:100]!a} cannot be asked: {why}")

    def drop(self, cluster: str) -> None:
        """Forget a cluster that was put; one that is not there is no fault."""
        self._changing.pop(cluster, None)

    def knows(self, cluster: str) -> bool:
        """Tell whether there is a cluster of this id now."""
        return cluster in self._fixed or cluster in self._changing

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove the caller at its own cluster.

        Raises:
            AuthenticationFailed: The cluster is unknown, or its verdict is no.
            AuthenticationUnavailable: There was no verdict, or the cluster cannot be asked or is not known yet.
            Overloaded: Too many are being judged there.
        """
        named = credentials.cluster or self._local
        cluster = self._aliases.get(named, named)
        authenticator = self._fixed.get(cluster) or self._changing.get(cluster)
        if authenticator is None:
            unknown = f"unknown cluster {named[:100]!a}"
            if why := self._more():
                raise AuthenticationUnavailable(f"{unknown}: {why}")
            raise AuthenticationFailed(unknown)
        return await authenticator.authenticate(credentials)


class _Broken:
    """Judges nobody: the operator's fault is no bad token, and the agent must try again."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Give no verdict."""
        raise AuthenticationUnavailable(self._reason)
