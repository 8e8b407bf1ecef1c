"""A connection to one API server: the official client's configuration and session, raw JSON bodies.

Typed models would cost more than the call on the hot path; the client's credential handling (in-cluster token re-read,
kubeconfig, exec plugins) is what is wanted of it.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from signer.kube.answer import MAX_BYTES, Answer, ApiUnavailable, Silence, Stream, read_answer
from signer.kube.connect import NoCluster, open_client, open_client_from
from signer.kube.keepalive import keep_alive

__all__ = ["Answer", "ApiUnavailable", "KubeApi", "NoCluster", "Stream", "connect", "connect_with"]

RENEW_SECONDS = 10.0
# Credentials come from files, which may be on a volume that hangs, or from a command that does.
OPEN_SECONDS = 5.0
JSON = "application/json"
# The keys of service-account tokens come as nothing but the second.
ACCEPT = "application/json, application/jwk-set+json"
# Server-side apply; JSON is YAML.
APPLY = "application/apply-patch+yaml"

_log = logging.getLogger("istio_signer.kube")


@dataclass(frozen=True, slots=True)
class Call:
    """What to send."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    content: str = JSON


class KubeApi:
    """One API server. Every call has a time-out in seconds; none is retried here.

    Args:
        open_client: Makes a client from the credentials as they are now.
        client: The first one.
    """

    def __init__(self, client: ApiClient, open_client: Callable[[], Awaitable[ApiClient]]) -> None:
        self._client = client
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
        except (aiohttp.ClientError, OSError, ConfigException) as error:
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
                response = await self._open(Call("GET", path), None)
        except TimeoutError:
            raise ApiUnavailable(f"no answer within {opening:g} s", final=True) from None
        except (aiohttp.ClientError, OSError, ConfigException) as error:
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
            _log.error("the API server's credentials cannot be read again: %s", error)
            return
        except TimeoutError:
            _log.error("the API server's credentials could not be read again within %g s; the old stay", OPEN_SECONDS)
            return
        await old.close()  # type: ignore[no-untyped-call]

    async def _broken(self, error: Exception) -> ApiUnavailable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            await self._renew()
            return ApiUnavailable("the API server's certificate is not trusted; its CA was read again")
        if isinstance(error, ConfigException):
            return ApiUnavailable(f"the credentials cannot be read: {type(error).__name__}")
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

    async def _exchange(self, call: "Call", timeout: float, limit: int, discard: bool) -> Answer:
        async with await self._open(call, timeout) as response:
            return await read_answer(response, limit, discard=discard)

    async def _open(self, call: "Call", timeout: float | None) -> aiohttp.ClientResponse:
        """Send by the client's own session: its calls follow redirects, and with them a token would leave, and
        somebody else's verdict come in."""
        prepared = await self._client.param_serialize(
            call.method, call.path, header_params={"Accept": ACCEPT}, auth_settings=["BearerToken"]
        )
        url, headers = prepared[1], {**prepared[2], "Content-Type": call.content}
        rest = self._client.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()
        response: aiohttp.ClientResponse = await rest.pool_manager.request(
            call.method,
            url,
            headers=headers,
            data=None if call.body is None else json.dumps(call.body, separators=(",", ":")),
            timeout=aiohttp.ClientTimeout(total=timeout),
            allow_redirects=False,
            proxy=rest.proxy,
            proxy_headers=rest.proxy_headers,
            server_hostname=rest.configuration.tls_server_name or None,
        )
        return response


async def connect(kubeconfig: Path | None, context: str | None = None) -> KubeApi:
    """Open a connection; nothing is sent yet.

    Args:
        kubeconfig: A kubeconfig file; None means the pod's own service account.
        context: A context of that file; None means its current one.

    Raises:
        NoCluster: The file is unusable or cannot be read in time, or this process does not run in a pod.
    """

    async def opened() -> ApiClient:
        return await open_client(kubeconfig, context)

    where = kubeconfig or "the pod's service account"
    return await _connected(opened, f"{where}: ", ": does its volume hang, or a command that it runs?")


async def connect_with(config: Mapping[str, Any]) -> KubeApi:
    """Open a connection by a kubeconfig that somebody else wrote, as Istio's remote secrets are; nothing is sent yet.

    Args:
        config: Decoded. Its credentials stay as they are for as long as the connection: nobody can read them again.

    Raises:
        NoCluster: It is unusable, says what it must not (``signer.kube.connect``), or cannot be loaded in time.
    """

    async def opened() -> ApiClient:
        return await open_client_from(config)

    return await _connected(opened, "the kubeconfig ", "")


async def _connected(opened: Callable[[], Awaitable[ApiClient]], what: str, hint: str) -> KubeApi:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            client = await opened()
    except TimeoutError:
        raise NoCluster(f"{what}could not be read within {OPEN_SECONDS:g} s{hint}") from None
    return KubeApi(client, opened)
