"""A watch's connection is probed, so that a host that is gone is noticed before the next bookmark is missed."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from signer.kube import api, keepalive
from signer.kube.connect import connect
from tests.support.kubeconfig import kubeconfig

OPTIONS = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): keepalive.IDLE_SECONDS,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): keepalive.PROBE_SECONDS,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): keepalive.PROBES,
}


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sockets of the streams opened, None for one that has ended before."""
    found: list[Any] = []

    def noted(response: Any) -> None:
        keepalive.keep_alive(response)
        found.append(response.connection and response.connection.transport.get_extra_info("socket"))

    monkeypatch.setattr(api, "keep_alive", noted)
    return found


@pytest.mark.parametrize("ends", [False, True])
async def test_the_socket_of_a_stream(ends: bool, probed: list[Any], tmp_path: Path) -> None:
    """One whose answer is all there has no connection any more, and needs none."""
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if ends:
            return web.Response()
        response = web.StreamResponse()
        await response.prepare(request)
        await over.wait()
        return response

    application = web.Application()
    application.router.add_get("/watch", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    connection = await connect(kubeconfig(tmp_path / "k", f"http://127.0.0.1:{runner.addresses[0][1]}", "t"))
    try:
        async with connection.stream("/watch", 5.0, 5.0) as stream:
            assert stream.status == 200
            (link,) = probed
            assert (link is None) is ends
            if not ends:
                assert {key: link.getsockopt(*key) for key in OPTIONS} == OPTIONS
    finally:
        over.set()
        await connection.close()
        await runner.cleanup()
