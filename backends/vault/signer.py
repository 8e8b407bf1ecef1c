"""One signature by Vault: what is sent, with which token, and one more try after a new login."""

from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from backends.vault.answers import Reply, fault
from backends.vault.http import VaultHttp
from backends.vault.session import VaultSession
from backends.vault.settings import VaultSettings
from signer.core.identity import SpiffeId
from signer.core.types import SigningRequest, Subject


class VaultCaller:
    """Calls a path that needs a token."""

    def __init__(self, settings: VaultSettings, http: VaultHttp, session: VaultSession) -> None:
        self._settings = settings
        self._http = http
        self._session = session

    async def post(self, body: dict[str, Any]) -> Reply:
        """Post to the signing path. A token that Vault has forgotten costs a login, not a request.

        Raises:
            BackendUnavailable: No login, no connection, sealed, throttled.
            BackendRefused: Vault decided against it.
            BackendTimeout: No answer in time.
        """
        token = await self._session.token()
        reply = await self._post(body, token)
        if reply.status == 403 and self._session.rejected(token):
            reply = await self._post(body, await self._session.token())
        error = fault(reply, self._settings.path)
        if error is not None:
            raise error
        return reply

    async def _post(self, body: dict[str, Any], token: Any) -> Reply:
        return await self._http.call("POST", self._settings.path, self._settings.timeout.total_seconds(), body, token)


def leaf_body(request: SigningRequest, now: datetime) -> dict[str, Any]:
    """What to ask of a signing path (Vault's API, "Sign certificate" and "Sign verbatim").

    A role takes the names from the CSR unless it says otherwise (``use_csr_sans``); they are given beside it too, for
    roles that do. Usages are for ``sign-verbatim``: roles have their own.
    """
    seconds = max(1, round((request.validity.not_after - now).total_seconds()))
    pem = request.csr.parsed.request.public_bytes(Encoding.PEM).decode("ascii")
    return {
        "csr": pem,
        "ttl": f"{seconds}s",
        "format": "pem",
        "exclude_cn_from_sans": True,
        "key_usage": ["DigitalSignature", "KeyEncipherment"],
        "ext_key_usage": ["ServerAuth", "ClientAuth"],
        **_names(request.subject),
    }


def _names(subject: Subject) -> dict[str, str]:
    if isinstance(subject, SpiffeId):
        return {"uri_sans": str(subject)}
    return {"alt_names": ",".join(subject.dns), "ip_sans": ",".join(map(str, subject.ips))}
