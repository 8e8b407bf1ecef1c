"""The order of proofs: a client certificate first, then a token, as in istiod.

Source: istio: security/pkg/server/ca/authenticate, and pilot/pkg/bootstrap, where the authenticators are listed.
"""

from dataclasses import replace

from signer.authn.client_cert import ClientCertificates, serial_of
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
        except AuthenticationFailed as error:
            if credentials.bearer is None:
                raise
            refused = error.reason
        return await self._by_token_beside(credentials, refused)

    async def _by_token_beside(self, credentials: Credentials, refused: str) -> Caller:
        """By the token, of one whose certificate was refused: its serial counts all the same, it may be denied."""
        try:
            caller = await self._by_token(credentials)
        except AuthenticationFailed as error:
            # Both, since agents send a token always: an old one would hide why the certificate is bad.
            raise AuthenticationFailed(f"{error.reason}; {refused}") from None
        return replace(caller, serial=serial_of(credentials.chain))

    async def _by_token(self, credentials: Credentials) -> Caller:
        caller = await self._tokens.authenticate(credentials)
        self._proofs.proven(caller.identity)
        return caller
