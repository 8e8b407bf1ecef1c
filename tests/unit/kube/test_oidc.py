"""Fetching key sets: of the API server, and of a URL; everything but a good answer is "unavailable"."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from signer.kube import oidc
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.oidc import MAX_BYTES, RemoteJwks, fetch_issuer, fetch_jwks
from tests.support.kubeconfig import kubeconfig

JWKS = '{"keys":[]}'
BAD = [
    (500, JWKS, "HTTP 500"),
    (403, JWKS, "HTTP 403"),
    (302, JWKS, "HTTP 302"),
    (200, "<html>", "not JSON"),
    (200, "[]", "not an object"),
    (200, "[" * 100_000, "not JSON"),
    (200, '{"keys":"' + "x" * MAX_BYTES + '"}', "an answer of over"),
]


class Far:
    """A server that answers everything alike."""

    def __init__(self) -> None:
        self.status, self.text, self.port = 200, JWKS, 0
        self.held: asyncio.Event | None = None
        self.seen: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.Response:
        """As told."""
        self.seen.append(request)
        if self.held is not None:
            await self.held.wait()
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        return web.Response(status=self.status, text=self.text, content_type="application/json", headers=headers)

    @property
    def url(self) -> str:
        """Of its key set."""
        return f"http://127.0.0.1:{self.port}/keys"


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    server = Far()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    yield server
    if server.held is not None:
        server.held.set()
    await runner.cleanup()


@pytest.fixture
async def api(far: Far, tmp_path: Path) -> AsyncIterator[KubeApi]:
    connection = await connect(kubeconfig(tmp_path / "k", f"http://127.0.0.1:{far.port}", "me"))
    yield connection
    await connection.close()


@pytest.fixture
async def remote(far: Far) -> AsyncIterator[RemoteJwks]:
    source = RemoteJwks(far.url, 5.0)
    yield source
    await source.close()


async def test_the_api_servers_keys(far: Far, api: KubeApi) -> None:
    assert await fetch_jwks(api, 5.0) == {"keys": []}
    assert [request.path for request in far.seen] == ["/openid/v1/jwks"]


@pytest.mark.parametrize(("status", "text", "reason"), BAD)
async def test_the_api_servers_other_answers(far: Far, api: KubeApi, status: int, text: str, reason: str) -> None:
    far.status, far.text = status, text
    with pytest.raises(ApiUnavailable, match=reason):
        await fetch_jwks(api, 5.0)
    with pytest.raises(ApiUnavailable, match=reason):
        await fetch_issuer(api, 5.0)
    assert len(far.seen) == 2


async def test_a_missing_right_is_named(far: Far, api: KubeApi) -> None:
    far.status = 403
    with pytest.raises(ApiUnavailable, match="system:service-account-issuer-discovery"):
        await fetch_jwks(api, 5.0)


async def test_the_issuer(far: Far, api: KubeApi) -> None:
    far.text = '{"issuer":"https://kubernetes.default.svc"}'
    assert await fetch_issuer(api, 5.0) == "https://kubernetes.default.svc"
    assert [request.path for request in far.seen] == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("text", ["{}", '{"issuer":""}', '{"issuer":1}', '{"issuer":"' + "x" * 2049 + '"}'])
async def test_no_issuer(far: Far, api: KubeApi, text: str) -> None:
    far.text = text
    with pytest.raises(ApiUnavailable, match="names no issuer"):
        await fetch_issuer(api, 5.0)


async def test_a_remote_set(far: Far, remote: RemoteJwks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, and not by a proxy of the environment."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await remote.fetch() == {"keys": []}
    assert await remote.fetch() == {"keys": []}
    assert "Authorization" not in far.seen[0].headers
    assert "application/jwk-set+json" in far.seen[0].headers["Accept"]


@pytest.mark.parametrize(("status", "text", "reason"), BAD)
async def test_a_remotes_other_answers(far: Far, remote: RemoteJwks, status: int, text: str, reason: str) -> None:
    """A redirect is not followed."""
    far.status, far.text = status, text
    with pytest.raises(ApiUnavailable, match=reason):
        await remote.fetch()
    assert [request.path for request in far.seen] == ["/keys"]


async def test_a_remote_that_is_silent(far: Far) -> None:
    far.held = asyncio.Event()
    remote = RemoteJwks(far.url, 0.05)
    with pytest.raises(ApiUnavailable, match=r"no answer within 0\.05 s"):
        await remote.fetch()
    await remote.close()


async def test_a_remote_that_is_not_there() -> None:
    remote = RemoteJwks("http://127.0.0.1:9/", 5.0)
    with pytest.raises(ApiUnavailable, match="no connection"):
        await remote.fetch()
    await remote.close()


@pytest.mark.parametrize("pem", [None, b"no certificate"])
async def test_a_ca_file_that_cannot_be_used(tmp_path: Path, pem: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if pem is not None:
        path.write_bytes(pem)
    remote = RemoteJwks("https://127.0.0.1:9/", 5.0, path)
    with pytest.raises(ApiUnavailable, match="no connection"):
        await remote.fetch()
    await remote.close()


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "http://127.0.0.1.example/", "file:///etc", "https://", "https://u:secret@h/", ""]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write the https URL") as caught:
        RemoteJwks(url, 5.0)
    assert "secret" not in str(caught.value)


def test_this_host_and_https() -> None:
    for url in ("https://issuer.example/keys", "http://localhost:1/", "http://[::1]:1/"):
        assert oidc.RemoteJwks(url, 5.0)
