"""A connection to one API server: the official client's configuration and session, raw JSON bodies.

Typed models would cost more than the call on the hot path; the client's credential handling (in-cluster token re-read,
kubeconfig, exec plugins) is what is wanted of it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

MAX_ANSWER_BYTES = 1024 * 1024
# As many as authentication.concurrency may be.
MAX_CONNECTIONS = 1000
RENEW_SECONDS = 10.0

_log = logging.getLogger("istio_signer.kube")


class NoCluster(Exception):
    """There is no usable connection configuration; the message says what is missing and what to do."""


class ApiUnavailable(Exception):
    """The API server gave no usable answer. ``final`` is False where trying again soon makes sense."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said: the HTTP status and the JSON object of the body."""

    status: int
    body: dict[str, Any]


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

    async def call(self, method: str, path: str, timeout: float, body: dict[str, Any] | None = None) -> Answer:
        """Send one request.

        Args:
            method: The HTTP method.
            path: The path, with its query where there is one.
            timeout: Seconds.
            body: A JSON object, where the method has one.

        Raises:
            ApiUnavailable: No answer in time, no connection, or one that is no JSON object.
        """
        try:
            async with asyncio.timeout(timeout):
                answer = await self._request(method, path, body, timeout)
        except TimeoutError:
            raise ApiUnavailable(f"no answer within {timeout} s", final=True) from None
        except aiohttp.ClientConnectorCertificateError:
            await self._renew()
            raise ApiUnavailable("the API server's certificate is not trusted; its CA was read again") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnavailable(f"no connection: {type(error).__name__}") from None
        except ConfigException as error:
            raise ApiUnavailable(f"the credentials cannot be read: {type(error).__name__}") from None
        if answer.status == 401:
            await self._renew()
        return answer

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the package is typed in part

    async def _renew(self) -> None:
        """Read the credentials again, at most once in a while: tokens and CAs are rotated in place."""
        if time.monotonic() - self._opened < RENEW_SECONDS:
            return
        self._opened = time.monotonic()
        try:
            old, self._client = self._client, await self._open_client()
        except NoCluster as error:
            _log.error("the API server's credentials cannot be read again: %s", error)
            return
        await old.close()  # type: ignore[no-untyped-call]

    async def _request(self, method: str, path: str, body: dict[str, Any] | None, timeout: float) -> Answer:
        """Send by the client's own session: its calls follow redirects, and with them a token would leave, and
        somebody else's verdict come in."""
        prepared = await self._client.param_serialize(
            method, path, header_params={"Accept": "application/json"}, body=body, auth_settings=["BearerToken"]
        )
        url, headers = prepared[1], {**prepared[2], "Content-Type": "application/json"}
        rest = self._client.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()
        async with rest.pool_manager.request(
            method,
            url,
            headers=headers,
            data=None if body is None else json.dumps(body),
            timeout=aiohttp.ClientTimeout(total=timeout),
            allow_redirects=False,
            proxy=rest.proxy,
            proxy_headers=rest.proxy_headers,
            server_hostname=rest.configuration.tls_server_name or None,
        ) as response:
            data = await _read(response)
        return Answer(response.status, _parse(response.status, data))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise ApiUnavailable(f"HTTP {response.status} with an answer of over {MAX_ANSWER_BYTES} bytes", final=True)
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(status: int, data: bytes) -> dict[str, Any]:
    """Errors of proxies in between are often HTML; only their status is kept, never their text."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise ApiUnavailable(f"HTTP {status} with an answer that is not JSON") from None
    if not isinstance(body, dict):
        raise ApiUnavailable(f"HTTP {status} with JSON that is not an object")
    return body


async def connect(kubeconfig: Path | None, context: str | None = None) -> KubeApi:
    """Open a connection; nothing is sent yet.

    Args:
        kubeconfig: A kubeconfig file; None means the pod's own service account.
        context: A context of that file; None means its current one.

    Raises:
        NoCluster: The file is unusable, or this process does not run in a pod.
    """

    async def open_client() -> ApiClient:
        return await _open_client(kubeconfig, context)

    return KubeApi(await open_client(), open_client)


async def _open_client(kubeconfig: Path | None, context: str | None) -> ApiClient:
    await asyncio.to_thread(_check_there, kubeconfig)
    # Called through type: the class hands out copies of a process-wide default otherwise.
    configuration = type.__call__(Configuration)
    configuration.connection_pool_maxsize = MAX_CONNECTIONS
    # Proxies of the environment are for the web; tokens go to the API server and nowhere else.
    configuration.client_session_kwargs = {"trust_env": False}
    try:
        await _load(configuration, kubeconfig, context)
        client = ApiClient(configuration=configuration)
    except ConfigException as error:
        raise NoCluster(_advice(kubeconfig, str(error))) from None
    except Exception as error:  # noqa: BLE001  parsers of several libraries; their texts may quote the credentials
        raise NoCluster(_advice(kubeconfig, type(error).__name__)) from None
    _check_encrypted(configuration.host)
    return client


def _check_encrypted(server: str) -> None:
    parts = urlsplit(server)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise NoCluster(f"{server}: tokens are sent to an API server by https only")


def _check_there(kubeconfig: Path | None) -> None:
    """The client takes a missing file for an empty one, and complains about its contents."""
    if kubeconfig is not None and not kubeconfig.is_file():
        raise NoCluster(f"{kubeconfig}: no such file")


async def _load(configuration: Configuration, kubeconfig: Path | None, context: str | None) -> None:
    if kubeconfig is None:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return
    await load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig),
        context=context,
        client_configuration=configuration,
        persist_config=False,
    )


def _advice(kubeconfig: Path | None, fault: str) -> str:
    """What to do. A kubeconfig's inline certificates go through temporary files, which a read-only root refuses."""
    if kubeconfig is None:
        return f"this is no pod of a cluster ({fault}); name a kubeconfig file, or use serve --development"
    return f"{kubeconfig}: no usable kubeconfig: {fault}"
