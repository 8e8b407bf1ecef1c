"""Which cluster's judge a credential goes to."""

from collections.abc import Mapping

from signer.core.errors import AuthenticationFailed
from signer.core.ports import Authenticator
from signer.core.types import Caller, Credentials


class ByCluster:
    """Picks the authenticator by the caller's ``clusterid``; an empty one means the local cluster.

    An unknown id is a bad credential (istio: security/pkg/server/ca/authenticate/kubeauth/kube_jwt.go).
    """

    def __init__(self, local: str, authenticators: Mapping[str, Authenticator]) -> None:
        self._local = local
        self._authenticators = dict(authenticators)

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove the caller at its own cluster.

        Raises:
            AuthenticationFailed: The cluster is unknown, or its verdict is no.
            AuthenticationUnavailable: There was no verdict.
        """
        cluster = credentials.cluster or self._local
        authenticator = self._authenticators.get(cluster)
        if authenticator is None:
            raise AuthenticationFailed(f"unknown cluster {cluster[:100]!a}")
        return await authenticator.authenticate(credentials)
