"""One request by the official client's credentials, TLS and session, without its typed calls."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient

from signer.kube.cancellation import is_own_end

JSON = "application/json"
# The keys of service-account tokens come as nothing but the second.
ACCEPT = "application/json, application/jwk-set+json"


@dataclass(frozen=True, slots=True)
class Call:
    """What to send.

    Attributes:
        path: With its query, where there is one.
        content: The body's media type.
    """

    method: str
    path: str
    body: dict[str, Any] | None = None
    content: str = JSON


async def send(client: ApiClient, call: Call, timeout: float | None) -> aiohttp.ClientResponse:
    """Send by the client's own session: its calls follow redirects, and with them a token would leave, and somebody
    else's verdict come in.

    Args:
        client: Its credentials and its session are used.
        call: What to send.
        timeout: Seconds for all of the answer; None where the caller ends it.

    Raises:
        aiohttp.ClientError, OSError: There is no connection, or the client was closed meanwhile.
        ConfigException: The credentials cannot be read.
    """
    try:
        return await _send(client, call, timeout)
    except asyncio.CancelledError:
        if is_own_end():
            raise
        # The session was closed under somebody who waits for a name or a connection, and would end without a word.
        raise aiohttp.ClientConnectionError("closed meanwhile") from None


async def _send(client: ApiClient, call: Call, timeout: float | None) -> aiohttp.ClientResponse:
    prepared = await client.param_serialize(
        call.method, call.path, header_params={"Accept": ACCEPT}, auth_settings=["BearerToken"]
    )
    url, headers = prepared[1], {**prepared[2], "Content-Type": call.content}
    rest = client.rest_client
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
