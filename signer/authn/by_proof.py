"""The order of proofs: a client certificate first, then a token, as in istiod.

Source: istio: security/pkg/server/ca/authenticate, and pilot/pkg/bootstrap, where the authenticators are listed.
"""

from signer.authn.client_cert import ClientCertificates
from signer.authn.proofs import Proofs
from signer.core.errors import AuthenticationFailed
from signer.core.ports import Authenticator
from signer.core.types import Caller, Credentials


class ByProof:
    """Proves callers by what they show.

    Args:
        certificates: Judges client certificates.
        tokens: Judges tokens.
        proofs: Told of each identity that a token has proven.
    """

    def __init__(self, certificates: ClientCertificates, tokens: Authenticator, proofs: Proofs) -> None:
        self._certificates = certificates
        self._tokens = tokens
        self._proofs = proofs

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove the caller; a token is looked at where no certificate was shown, or where that proves nobody.

        Raises:
            AuthenticationFailed: Nothing that it shows proves it.
            AuthenticationUnavailable: It could not be judged.
            Overloaded: Too many are being judged.
        """
        if not credentials.chain:
            return await self._by_token(credentials)
        try:
            return await self._certificates.authenticate(credentials)
        except AuthenticationFailed:
            if credentials.bearer is None:
                raise
        return await self._by_token(credentials)

    async def _by_token(self, credentials: Credentials) -> Caller:
        caller = await self._tokens.authenticate(credentials)
        self._proofs.proven(caller.identity)
        return caller
