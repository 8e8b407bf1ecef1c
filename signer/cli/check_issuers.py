"""``istio-signer check`` for issuers of tokens that are judged offline: their CA files and, with ``--live``, keys."""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from signer.authn.jwk_set import parse_jwks
from signer.config.clusters import Cluster, Issuer
from signer.core.spec import Finding, NoAnswer
from signer.kube.answer import ApiUnavailable, Refused
from signer.kube.api import KubeApi
from signer.kube.oidc import RemoteJwks, fetch_issuer, fetch_jwks

_SECONDS = 5.0


def check_ca_files(where: str, cluster: Cluster) -> list[Finding]:
    """Read what is to be trusted at the issuers' URLs; ``where`` is the cluster's key."""
    given = [(f"{where}.issuers.{i}.ca_file", issuer.ca_file) for i, issuer in enumerate(cluster.issuers)]
    return [finding for key, path in given if path is not None for finding in _ca_file(key, path)]


def _ca_file(where: str, path: Path) -> list[Finding]:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        # An SSLError is an OSError, too.
        broken = isinstance(error, ssl.SSLError | ValueError)
        reason = f"no PEM certificates ({type(error).__name__})" if broken else getattr(error, "strerror", "")
        return [Finding("error", where, f"{path}: {reason}")]
    return []


async def check_keys(where: str, cluster: Cluster, api: KubeApi) -> list[Finding]:
    """Fetch what tokens would be judged by, once, as the server does.

    Args:
        where: The cluster's key.
        cluster: Its settings.
        api: Its API server.
    """
    if cluster.tokens != "offline":
        return []
    own = partial(fetch_jwks, api, _SECONDS)
    if cluster.issuers:
        return [await _issuer(f"{where}.issuers.{i}", issuer, own) for i, issuer in enumerate(cluster.issuers)]
    try:
        name = await fetch_issuer(api, _SECONDS)
    except ApiUnavailable as error:
        return [_kind(error)("error", f"{where}.tokens", f"the API server does not name its issuer: {error}")]
    return [await _keys(f"{where}.tokens", name, own)]


async def _issuer(where: str, issuer: Issuer, own: Callable[[], Awaitable[object]]) -> Finding:
    if issuer.jwks_uri is None:
        return await _keys(where, issuer.issuer, own)
    remote = RemoteJwks(issuer.jwks_uri, _SECONDS, issuer.ca_file)
    try:
        return await _keys(f"{where}.jwks_uri", issuer.issuer, remote.fetch)
    finally:
        await remote.close()


def _kind(error: ApiUnavailable) -> type[Finding]:
    """A missing right stays missing however often one asks."""
    return Finding if isinstance(error, Refused) else NoAnswer


async def _keys(where: str, issuer: str, fetch: Callable[[], Awaitable[object]]) -> Finding:
    told = f"issuer {issuer[:200]!a}"
    try:
        keys = parse_jwks(await fetch())
    except ApiUnavailable as error:
        return _kind(error)("error", where, f"{told}: its keys cannot be fetched: {error}")
    except ValueError as error:
        return Finding("error", where, f"{told}: {error}")
    if not keys:
        return Finding("error", where, f"{told}: its JWK set has no key that can verify tokens")
    return Finding("ok", where, f"{told}: {len(keys)} key{'s' if len(keys) > 1 else ''} to judge tokens by")
