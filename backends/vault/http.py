"""Vault's API over kept connections: JSON both ways, a deadline on each call, no redirects, no proxies."""

import asyncio
import json
import ssl
from typing import Any

import aiohttp

from backends.vault.answers import Reply
from backends.vault.pool import Pool
from backends.vault.settings import VaultSettings
from backends.vault.tls import reason_of
from signer.core.errors import BackendTimeout, BackendUnavailable
from signer.core.types import Secret

MAX_ANSWER_BYTES = 1024 * 1024


class VaultHttp:
    """Calls to one Vault."""

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._pool = Pool(settings)

    async def call(
        self, method: str, path: str, timeout: float, body: dict[str, Any] | None = None, token: Secret | None = None
    ) -> Reply:
        """Send one request.

        Args:
            method: The HTTP method.
            path: After ``/v1/``.
            timeout: Seconds.
            body: A JSON object, where the method has one.
            token: For the paths that want one.

        Raises:
            BackendUnavailable: No connection, or an answer that is none of Vault's.
            BackendTimeout: No answer in time.
        """
        status, data = await self.fetch(method, path, timeout, body, token)
        return Reply(status, _json_object(data))

    async def fetch(
        self, method: str, path: str, timeout: float, body: dict[str, Any] | None = None, token: Secret | None = None
    ) -> tuple[int, bytes]:
        """As ``call``, for paths that answer with something else than JSON."""
        try:
            async with asyncio.timeout(timeout):
                return await self._send(method, path, body, token)
        except TimeoutError:
            raise BackendTimeout(f"Vault gave no answer within {timeout:g} s") from None
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLError) as error:
            # The CA file may have been renewed in place.
            await self._pool.renew()
            raise BackendUnavailable(f"Vault's certificate is not trusted ({reason_of(error)}): see ca_file") from None
        except (aiohttp.ClientError, OSError) as error:
            raise BackendUnavailable(f"no connection to Vault: {reason_of(error)}") from None

    async def close(self) -> None:
        """Close the connections; nothing can be sent any more."""
        await self._pool.close()

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, token: Secret | None
    ) -> tuple[int, bytes]:
        async with (
            self._pool.lent() as session,
            session.request(
                method,
                self._settings.base + path,
                data=None if body is None else json.dumps(body),
                headers=self._headers(path, token),
                allow_redirects=False,
            ) as response,
        ):
            return response.status, await _read(response)

    def _headers(self, path: str, token: Secret | None) -> dict[str, str]:
        # Vault's agents and proxies pass on only what says that it is meant for Vault.
        headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        if token is not None:
            headers["X-Vault-Token"] = token.reveal()
        # The server's health is asked of the root: inside a namespace there is no such path (HTTP 400).
        if self._settings.namespace and not path.startswith("sys/health"):
            headers["X-Vault-Namespace"] = self._settings.namespace
        return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = await response.content.read(MAX_ANSWER_BYTES + 1)
    whole = bytearray(data)
    while data and len(whole) <= MAX_ANSWER_BYTES:
        data = await response.content.read(MAX_ANSWER_BYTES + 1 - len(whole))
        whole += data
    if len(whole) > MAX_ANSWER_BYTES:
        raise BackendUnavailable(f"Vault's answer is over {MAX_ANSWER_BYTES} bytes")
    return bytes(whole)


def _json_object(data: bytes) -> dict[str, Any]:
    """Errors of proxies in between are often HTML: then only the status counts."""
    try:
        body = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
