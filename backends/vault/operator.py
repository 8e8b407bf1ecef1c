"""A PKI mount as its operator sees it: by a token of theirs, since the signer's own must not be able to change it."""

import os
from typing import Any

from backends.vault.answers import Reply
from backends.vault.http import VaultHttp
from backends.vault.live import TOKEN_VARIABLE
from backends.vault.settings import VaultSettings
from signer.core.errors import BackendError
from signer.core.rotator import RotationRefused
from signer.core.types import Secret

_SECONDS = 10.0


class OperatorMount:
    """Calls with ``VAULT_TOKEN``. All of them raise ``RotationRefused``, with Vault's own words where it gave some."""

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._http = VaultHttp(settings)

    @property
    def path(self) -> str:
        """The mount's path."""
        mount = self._settings.mount
        if mount is None:
            raise RotationRefused(f"the path {self._settings.path} does not tell which PKI mount it belongs to")
        return mount

    async def find(self, path: str) -> dict[str, Any] | None:
        """Read what may not be there."""
        reply = await self._call("GET", path)
        return None if _is_missing(reply) else self._data(reply, path)

    async def readable(self, path: str) -> dict[str, Any] | None:
        """Read what this token may not see, or what is not there: none of both is an error."""
        reply = await self._call("GET", path)
        return None if reply.status == 403 or _is_missing(reply) else self._data(reply, path)

    async def get(self, path: str) -> dict[str, Any]:
        """Read what must be there."""
        return self._data(await self._call("GET", path), path)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Write."""
        return self._data(await self._call("POST", path, body), path)

    async def delete(self, path: str) -> None:
        """Delete; what is gone is gone."""
        reply = await self._call("DELETE", path)
        if not _is_missing(reply):
            self._data(reply, path)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise RotationRefused(f"export {TOKEN_VARIABLE} with a token that may change the issuers of {self.path}")
        try:
            return await self._http.call(method, f"{self.path}/{path}", _SECONDS, body, Secret(token))
        except BackendError as error:
            raise RotationRefused(error.reason) from None

    def _data(self, reply: Reply, path: str) -> dict[str, Any]:
        if reply.status >= 300:
            hint = f"; does the policy of {TOKEN_VARIABLE} allow it?" if reply.status == 403 else ""
            raise RotationRefused(f"{self.path}/{path}: HTTP {reply.status}: {reply.words}{hint}")
        data = reply.body.get("data")
        return data if isinstance(data, dict) else {}


def _is_missing(reply: Reply) -> bool:
    """OpenBao and older Vaults answer 500 for an issuer or key of an unknown name."""
    return reply.status == 404 or (reply.status >= 400 and "unable to find PKI" in reply.words)
