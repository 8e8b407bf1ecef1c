"""Where tokens may be sent, and which credentials are used."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from signer.kube import api
from signer.kube import connect as connecting
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.connect import connect, connect_with
from signer.kube.no_cluster import NoCluster
from tests.support.kubeconfig import kubeconfig

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


class Far:
    """An API server that knows one bearer token."""

    def __init__(self, known: str) -> None:
        self.known = known
        self.seen: list[str] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        """401 for any other."""
        self.seen.append(request.headers.get("Authorization", ""))
        good = request.headers.get("Authorization") == f"Bearer {self.known}"
        return web.json_response({"kind": "TokenReview"}, status=201 if good else 401)


@pytest.fixture
def far() -> Far:
    return Far("new")


async def _serve(far: Far) -> web.AppRunner:
    application = web.Application()
    application.router.add_post(PATH, far.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    far.port = runner.addresses[0][1]
    return runner


async def test_rotated_credentials_are_read_again(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 401 says that ours are old; a restart must not be needed."""
    monkeypatch.setattr(api, "RENEW_SECONDS", 0.0)
    runner = await _serve(far)
    path = kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{far.port}", "old")
    connection: KubeApi = await connect(path)
    assert (await connection.post(PATH, {}, 5)).status == 401
    kubeconfig(path, f"http://127.0.0.1:{far.port}", "new")
    assert (await connection.post(PATH, {}, 5)).status == 401
    assert (await connection.post(PATH, {}, 5)).status == 201
    assert far.seen == ["Bearer old", "Bearer old", "Bearer new"]
    await connection.close()
    await runner.cleanup()


async def test_the_environments_proxy_sees_nothing(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    runner = await _serve(far)
    connection = await connect(kubeconfig(tmp_path / "k", f"http://127.0.0.1:{far.port}", "new"))
    assert (await connection.post(PATH, {}, 5)).status == 201
    await connection.close()
    await runner.cleanup()


async def test_plain_http_is_for_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match="by https only"):
        await connect(kubeconfig(tmp_path / "k", "http://192.0.2.1:80", "x"))


async def _hang(*_: object) -> ApiClient:
    await asyncio.Event().wait()
    raise AssertionError


async def test_credentials_that_hang_are_given_up_and_the_old_stay(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has no deadline of its own would wait for ever."""
    runner = await _serve(far)
    connection = await connect(kubeconfig(tmp_path / "k", f"http://127.0.0.1:{far.port}", "old"), name="east")
    monkeypatch.setattr(api, "RENEW_SECONDS", 0.0)
    monkeypatch.setattr(api, "OPEN_SECONDS", 0.05)
    monkeypatch.setattr(connection, "_open_client", _hang)
    async with asyncio.timeout(5.0):
        assert (await connection.post(PATH, {}, 5)).status == 401
        assert (await connection.post(PATH, {}, 5)).status == 401
    assert far.seen == ["Bearer old", "Bearer old"]
    assert "cluster 'east': the API server's credentials could not be read again within 0.05 s" in caplog.text
    await connection.close()
    await runner.cleanup()


@pytest.mark.parametrize(("name", "told"), [("", "the API"), ("east", "cluster 'east': the API")])
async def test_credentials_that_are_gone_are_told_with_their_cluster(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    """Where there is one to be told from others; the old ones stay."""
    monkeypatch.setattr(api, "RENEW_SECONDS", 0.0)
    runner = await _serve(far)
    path = kubeconfig(tmp_path / "k", f"http://127.0.0.1:{far.port}", "old")
    connection = await connect(path, name=name)
    path.unlink()
    assert (await connection.post(PATH, {}, 5)).status == 401
    (record,) = caplog.records
    assert record.getMessage() == f"{told} server's credentials cannot be read again: {path}: no such file"
    await connection.close()
    await runner.cleanup()


async def test_a_connection_that_cannot_be_opened_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "OPEN_SECONDS", 0.05)
    monkeypatch.setattr(connecting, "open_client", _hang)
    async with asyncio.timeout(5.0):
        with pytest.raises(NoCluster, match=r"could not be read within 0\.05 s"):
            await connect(tmp_path / "k")


async def test_nobody_there(tmp_path: Path) -> None:
    connection = await connect(kubeconfig(tmp_path / "k", "http://127.0.0.1:9", "x"))
    with pytest.raises(ApiUnavailable, match="no connection"):
        await connection.post(PATH, {}, 5)
    await connection.close()


UNSENDABLE = {"a token of two lines": ("http://127.0.0.1:1", "a\nb"), "no host": (f"https://{'a' * 64}.example", "t")}


@pytest.mark.parametrize(("server", "token"), UNSENDABLE.values(), ids=UNSENDABLE)
async def test_what_cannot_be_sent(server: str, token: str) -> None:
    """It is the kubeconfig's fault, told as an outage of that cluster: neither a bug nor the caller's fault."""
    connection = await connect_with(
        {
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        },
    )
    for ask in (connection.post(PATH, {}, 5), _streamed(connection)):
        with pytest.raises(ApiUnavailable) as caught:
            await ask
        assert token not in str(caught.value) or token == "t"
    await connection.close()
    with pytest.raises(ApiUnavailable):
        await connection.post(PATH, {}, 5)


async def _streamed(connection: KubeApi) -> None:
    async with connection.stream(PATH, 5.0, 5.0):
        pass
