"""What `check` says of issuers: a CA file that is none, keys that cannot be had, keys that can."""

from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from signer.cli.check_issuers import check_ca_files, check_keys
from signer.config.clusters import Cluster
from signer.core.spec import Finding, NoAnswer
from signer.kube.answer import Answer, ApiUnavailable, Refused
from signer.kube.api import KubeApi
from signer.kube.oidc import ISSUER_PATH
from tests.support.pki import make_ca
from tests.unit.authn.test_offline import JWK


class Api:
    """An API server."""

    def __init__(self, issuer: str | ApiUnavailable, keys: object) -> None:
        self.issuer, self.keys = issuer, keys

    async def call(self, method: str, path: str, timeout: float, *, limit: int) -> Answer:
        """Its issuer, or its keys."""
        if isinstance(self.issuer, ApiUnavailable):
            raise self.issuer
        return Answer(200, {"issuer": self.issuer} if path == ISSUER_PATH else {"keys": self.keys})


def _cluster(*issuers: dict[str, Any], tokens: str = "offline") -> Cluster:
    return Cluster.model_validate({"tokens": tokens, "issuers": list(issuers)})


def _api(issuer: str | ApiUnavailable = "https://own", keys: object = (JWK,)) -> KubeApi:
    return cast(KubeApi, Api(issuer, list(keys) if isinstance(keys, tuple) else keys))


OWN: dict[str, tuple[KubeApi, str, str]] = {
    "good": (_api(), "ok", "issuer 'https://own': 1 key to judge tokens by"),
    "down": (_api(ApiUnavailable("no connection")), "error", "does not name its issuer: no connection"),
    "forbidden": (_api(Refused("HTTP 403: bound?")), "error", "does not name its issuer: HTTP 403: bound?"),
    "no key": (_api(keys=()), "error", "issuer 'https://own': its JWK set has no key that can verify tokens"),
    "no set": (_api(keys="x"), "error", "issuer 'https://own': the document is no JWK set"),
}


@pytest.mark.parametrize("case", OWN)
async def test_the_api_servers_own(case: str) -> None:
    api, level, told = OWN[case]
    (found,) = await check_keys("clusters.0", _cluster(), api)
    assert (found.level, found.where, isinstance(found, NoAnswer)) == (level, "clusters.0.tokens", case == "down")
    assert told in found.text


async def test_issuers_at_urls() -> None:
    """Each by itself; an issuer without a URL has the API server's keys."""
    application = web.Application()
    application.router.add_get("/keys", _two_keys)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    issuers = [
        {"issuer": "https://a", "jwks_uri": f"{base}/keys"},
        {"issuer": "https://b", "jwks_uri": f"{base}/none"},
        {"issuer": "https://c"},
    ]
    found = await check_keys("clusters.1", _cluster(*issuers), _api())
    await runner.cleanup()
    assert found == [
        Finding("ok", "clusters.1.issuers.0.jwks_uri", "issuer 'https://a': 2 keys to judge tokens by"),
        NoAnswer(
            "error",
            "clusters.1.issuers.1.jwks_uri",
            "issuer 'https://b': its keys cannot be fetched: HTTP 404 with an answer that is not JSON",
        ),
        Finding("ok", "clusters.1.issuers.2", "issuer 'https://c': 1 key to judge tokens by"),
    ]


async def _two_keys(_: web.Request) -> web.Response:
    return web.json_response({"keys": [JWK, {**JWK, "kid": "b"}]})


async def test_nobody_is_asked_for_tokens_that_are_reviewed() -> None:
    assert await check_keys("clusters.0", _cluster(tokens="review"), cast(KubeApi, None)) == []


def test_ca_files(tmp_path: Path) -> None:
    """Read at once: a wrong one would show when tokens fail."""
    (tmp_path / "good").write_bytes(make_ca("x").pem)
    (tmp_path / "text").write_text("no PEM")
    url = "https://issuer.example/keys"
    issuers = [
        {"issuer": name, "jwks_uri": url, "ca_file": str(tmp_path / name)} for name in ("good", "text", "missing")
    ]
    cluster = _cluster(*issuers, {"issuer": "system's", "jwks_uri": url})
    text, missing = check_ca_files("clusters.0", cluster)
    assert (text.where, text.text) == (
        "clusters.0.issuers.1.ca_file",
        f"{tmp_path}/text: no PEM certificates (SSLError)",
    )
    assert (missing.where, missing.text) == (
        "clusters.0.issuers.2.ca_file",
        f"{tmp_path}/missing: No such file or directory",
    )
