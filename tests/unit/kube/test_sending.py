"""A connection that is closed under somebody who waits for it: that is its end, and not the asker's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from tests.support.kubeconfig import kubeconfig


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeApi]:
    """Its host's name takes for ever to be looked up."""

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    connection = await connect(kubeconfig(tmp_path / "k", "http://localhost:1", "t"))
    yield connection
    await connection.close()


async def _streamed(api: KubeApi) -> None:
    async with api.stream("/watch", 30.0, 30.0):
        pass


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_session_that_is_closed(streamed: bool, api: KubeApi) -> None:
    """As when credentials are read again; whoever follows something would follow it no more, in silence."""
    asking = asyncio.create_task(_streamed(api) if streamed else api.call("GET", "/x", 30.0))
    await asyncio.sleep(0.05)
    await api.close()
    with pytest.raises(ApiUnavailable, match="no connection: ClientConnectionError"):
        await asyncio.wait_for(asking, 5.0)


async def test_an_asker_that_is_cancelled(api: KubeApi) -> None:
    asking = asyncio.create_task(api.call("GET", "/x", 30.0))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_the_deadline(api: KubeApi) -> None:
    with pytest.raises(ApiUnavailable, match=r"no answer within 0\.05 s"):
        await api.call("GET", "/x", 0.05)
