"""The plain rule: a caller gets the identity of its own service account, and nobody else's."""

from signer.core.errors import ImpersonationDenied
from signer.core.types import Caller, Grant


class OwnIdentity:
    """Grants a caller its own identity and denies every impersonation."""

    async def authorize(self, caller: Caller, impersonated: str) -> Grant:
        """Grant the caller's own identity.

        Raises:
            ImpersonationDenied: Another identity was asked for. Asking for one's own by this means is refused too:
                no proxy does it, and a node proxy that does has mistaken its role.
        """
        if impersonated:
            raise ImpersonationDenied(
                f"{caller.identity} asked to act for {impersonated[:200]!a}, and no caller is trusted to do so"
            )
        return Grant(caller.identity, caller)
