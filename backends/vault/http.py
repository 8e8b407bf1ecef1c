"""Vault's API over kept connections: JSON both ways, a deadline on each call, no redirects, no proxies."""

import asyncio
import json
import logging
import ssl
import time
from typing import Any

import aiohttp

from backends.vault.answers import Reply
from backends.vault.settings import VaultSettings
from signer.core.errors import BackendTimeout, BackendUnavailable
from signer.core.types import Secret

_log = logging.getLogger("istio_signer.backend.vault")
MAX_ANSWER_BYTES = 1024 * 1024
MAX_CONNECTIONS = 256
CONNECT_SECONDS = 3.0
REOPEN_SECONDS = 5.0


class VaultHttp:
    """A pool of connections to one Vault."""

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._opened = 0.0
        self._closed = False

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
            await self._reopen()
            raise BackendUnavailable(f"Vault's certificate is not trusted ({_reason(error)}): see ca_file") from None
        except (aiohttp.ClientError, OSError) as error:
            raise BackendUnavailable(f"no connection to Vault: {_reason(error)}") from None

    async def close(self) -> None:
        """Close the connections; nothing can be sent any more."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, token: Secret | None
    ) -> tuple[int, bytes]:
        session = await self._open()
        async with session.request(
            method,
            self._settings.base + path,
            data=None if body is None else json.dumps(body),
            headers=self._headers(path, token),
            allow_redirects=False,
        ) as response:
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

    async def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise BackendUnavailable("the backend is closed")
        if self._session is None:
            context = await asyncio.to_thread(tls_context, self._settings)
            # Somebody else may have opened one while the files were read.
            if self._session is None:
                connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=context)
                patience = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
                self._session = aiohttp.ClientSession(connector=connector, timeout=patience, trust_env=False)
                self._opened = time.monotonic()
        return self._session

    async def _reopen(self) -> None:
        """Read the CA file again, at most once in a while: it may have been renewed in place."""
        if self._session is None or time.monotonic() - self._opened < REOPEN_SECONDS:
            return
        old, self._session = self._session, None
        await old.close()


def tls_context(settings: VaultSettings) -> ssl.SSLContext:
    """Make what verifies Vault's certificate, and what shows ours where the login is by certificate.

    Raises:
        BackendUnavailable: A file cannot be read, or holds something else.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.auth.certificate_file is not None:
            context.load_cert_chain(settings.auth.certificate_file, settings.auth.key_file)
    except (OSError, ssl.SSLError) as error:
        raise BackendUnavailable(f"ca_file or client certificate: {_reason(error)}") from None
    return context


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


def _reason(error: Exception) -> str:
    """The class, and the system's own words where there are some: never a URL or a header."""
    cause = getattr(error, "os_error", error)
    words = getattr(cause, "strerror", None) or getattr(cause, "reason", None) or ""
    return f"{type(error).__name__}{f', {words}' if isinstance(words, str) and words else ''}"[:200]
