"""A connection to one API server: the official client's configuration and session, raw JSON bodies.

Typed models would cost more than the call on the hot path; the client's credential handling (in-cluster token re-read,
kubeconfig, exec plugins) is what is wanted of it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from signer.kube.answer import MAX_BYTES, Answer, ApiUnavailable, Silence, Stream, read_answer
from signer.kube.keepalive import keep_alive
from signer.kube.no_cluster import NoCluster
from signer.kube.sending import JSON, Call, send

RENEW_SECONDS = 10.0
# Credentials come from files, which may be on a volume that hangs, or from a command that does.
OPEN_SECONDS = 5.0
# Server-side apply; JSON is YAML.
APPLY = "application/apply-patch+yaml"

_log = logging.getLogger("istio_signer.kube")
# ValueError: what a kubeconfig says is no header or no host name. RuntimeError: the session is closed.
_NOT_SENT = (aiohttp.ClientError, OSError, ConfigException, ValueError, RuntimeError)


class KubeApi:
    """One API server. Every call has a time-out in seconds; none is retried here.

    Args:
        client: The first client.
        open_client: Makes a client from the credentials as they are now.
        name: The cluster's id, for the log; empty where it has none.
    """

    def __init__(self, client: ApiClient, open_client: Callable[[], Awaitable[ApiClient]], name: str = "") -> None:
        self._client = client
        self.label = f"cluster {name!a}: " if name else ""
        """What a line of the log about it begins with: several clusters would give equal lines."""
        self._open_client = open_client
        self._opened = time.monotonic()

    async def post(self, path: str, body: dict[str, Any], timeout: float) -> Answer:
        """Create an object. Errors: as ``call``."""
        return await self.call("POST", path, timeout, body)

    async def call(
        self,
        method: str,
        path: str,
        timeout: float,
        body: dict[str, Any] | None = None,
        *,
        limit: int = MAX_BYTES,
        discard: bool = False,
        content: str = JSON,
    ) -> Answer:
        """Send one request.

        Args:
            method: The HTTP method.
            path: The path, with its query where there is one.
            timeout: Seconds.
            body: A JSON object, where the method has one.
            limit: The longest answer to read, in bytes.
            discard: Give an empty object in place of a success's body, however long that is.
            content: The body's media type: patches have their own.

        Raises:
            ApiUnavailable: No answer in time, no connection, or one that is no JSON object.
        """
        try:
            async with asyncio.timeout(timeout):
                answer = await self._exchange(Call(method, path, body, content), timeout, limit, discard)
        except TimeoutError:
            raise ApiUnavailable(f"no answer within {timeout:g} s", final=True) from None
        except _NOT_SENT as error:
            raise await self._broken(error) from None
        if answer.status == 401:
            await self._renew()
        return answer

    @asynccontextmanager
    async def stream(self, path: str, opening: float, idle: float) -> AsyncIterator[Stream]:
        """Open a long answer, as that to a watch.

        Args:
            path: The path with its query.
            opening: Seconds until the status must be there.
            idle: Seconds that the body may be silent.

        Raises:
            ApiUnavailable: As ``call``.
        """
        try:
            async with asyncio.timeout(opening):
                response = await send(self._client, Call("GET", path), None)
        except TimeoutError:
            raise ApiUnavailable(f"no answer within {opening:g} s", final=True) from None
        except _NOT_SENT as error:
            raise await self._broken(error) from None
        try:
            if response.status == 401:
                await self._renew()
            keep_alive(response)
            yield Stream(response.status, response.headers.get("Date", ""), self._chunks(response, idle))
        finally:
            response.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the package is typed in part

    async def _renew(self) -> None:
        """Read the credentials again, at most once in a while: tokens and CAs are rotated in place.

        Where that does not end in time, the old ones stay in use.
        """
        if time.monotonic() - self._opened < RENEW_SECONDS:
            return
        self._opened = time.monotonic()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                old, self._client = self._client, await self._open_client()
        except NoCluster as error:
            _log.error("%sthe API server's credentials cannot be read again: %s", self.label, error)
            return
        except TimeoutError:
            late = "%sthe API server's credentials could not be read again within %g s; the old stay"
            _log.error(late, self.label, OPEN_SECONDS)
            return
        await old.close()  # type: ignore[no-untyped-call]

    async def _broken(self, error: Exception) -> ApiUnavailable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            await self._renew()
            return ApiUnavailable("the API server's certificate is not trusted; its CA was read again")
        if isinstance(error, ConfigException):
            return ApiUnavailable(f"the credentials cannot be read: {type(error).__name__}")
        if isinstance(error, ValueError):
            return ApiUnavailable(f"its address or the credentials cannot be sent: {type(error).__name__}", final=True)
        return ApiUnavailable(f"no connection: {type(error).__name__}")

    async def _chunks(self, response: aiohttp.ClientResponse, idle: float) -> AsyncIterator[bytes]:
        try:
            while True:
                async with asyncio.timeout(idle):
                    chunk = await response.content.readany()
                if not chunk:
                    return
                yield chunk
        except TimeoutError:
            raise Silence(f"nothing came for {idle:g} s", final=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise await self._broken(error) from None

    async def _exchange(self, call: Call, timeout: float, limit: int, discard: bool) -> Answer:
        async with await send(self._client, call, timeout) as response:
            return await read_answer(response, limit, discard=discard)
