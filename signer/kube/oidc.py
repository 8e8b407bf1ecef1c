"""Where the keys of service-account tokens are published: by the API server itself, or at a URL of its issuer's.

Sources: kubernetes: pkg/routes/openidmetadata.go; OpenID Connect Discovery 1.0, section 4; RFC 7517, section 5.
"""

import asyncio
import ssl
from pathlib import Path

import aiohttp

from signer.core.jwks_uri import check_jwks_uri
from signer.kube.answer import Answer, ApiUnavailable, Refused, read_answer
from signer.kube.api import KubeApi

JWKS_PATH = "/openid/v1/jwks"
ISSUER_PATH = "/.well-known/openid-configuration"
# A hundred RSA keys have some 50 KiB.
MAX_BYTES = 256 * 1024
MAX_ISSUER_CHARS = 2048
# Kubernetes serves application/jwk-set+json, many others application/json.
_ACCEPT = "application/jwk-set+json, application/json"
_RIGHT = "is this service account bound to the ClusterRole system:service-account-issuer-discovery?"


async def fetch_jwks(api: KubeApi, timeout: float) -> object:
    """Get the API server's own key set, decoded.

    Args:
        api: The API server.
        timeout: Seconds.

    Raises:
        ApiUnavailable: It was not to be had.
    """
    return _good(await api.call("GET", JWKS_PATH, timeout, limit=MAX_BYTES), JWKS_PATH, _RIGHT).body


async def fetch_issuer(api: KubeApi, timeout: float) -> str:
    """Ask the API server for the ``iss`` of its tokens.

    Args:
        api: The API server.
        timeout: Seconds.

    Raises:
        ApiUnavailable: It did not say.
    """
    answer = _good(await api.call("GET", ISSUER_PATH, timeout, limit=MAX_BYTES), ISSUER_PATH, _RIGHT)
    issuer = answer.body.get("issuer")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= MAX_ISSUER_CHARS:
        raise ApiUnavailable(f"{ISSUER_PATH}: the answer names no issuer")
    return issuer


def _good(answer: Answer, where: str, right: str = "") -> Answer:
    if answer.status == 200:
        return answer
    hint = f": {right}" if right and answer.status in (401, 403) else ""
    kind = ApiUnavailable if answer.status == 429 or answer.status >= 500 else Refused
    raise kind(f"{where}: HTTP {answer.status}{hint}", retry_after=answer.retry_after)


class RemoteJwks:
    """A key set at a URL. No credentials are sent, no redirect is followed, and no proxy of the environment is used.

    Args:
        url: Where it is; https, except on this host.
        timeout: Seconds for one fetch.
        ca_file: PEM certificates to trust in place of the system's.

    Raises:
        ValueError: The URL is none that keys may come from.
    """

    def __init__(self, url: str, timeout: float, ca_file: Path | None = None) -> None:
        self._url = check_jwks_uri(url)
        self._timeout = timeout
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self) -> object:
        """Get the key set, decoded.

        Raises:
            ApiUnavailable: It was not to be had.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return _good(await self._exchange(), "JWKS").body
        except TimeoutError:
            raise ApiUnavailable(f"JWKS: no answer within {self._timeout:g} s", final=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The next one starts afresh, and reads the CA again: it is rotated in place.
            await self.close()
            raise ApiUnavailable(f"JWKS: no connection: {type(error).__name__}") from None

    async def _exchange(self) -> Answer:
        if self._session is None:
            trust = await asyncio.to_thread(_trust, self._ca_file)
            connector = aiohttp.TCPConnector(ssl=trust, limit=1)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        request = self._session.get(self._url, headers={"Accept": _ACCEPT}, allow_redirects=False)
        async with request as response:
            return await read_answer(response, MAX_BYTES)

    async def close(self) -> None:
        """Close its connection; a later fetch would open another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
