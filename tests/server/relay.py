"""A relay before the real API server: all is the real one's but the end of watches.

That one ends no watch with "410 Gone" at a test's will: it takes a compaction, minutes, and a client that is slow. The
event is what it sends then (kubernetes: staging/src/k8s.io/apiserver/pkg/storage/etcd3/watcher.go).
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.cluster.kubeconfig import Access
from tests.server.loop import LoopThread
from tests.support.kubeconfig import kubeconfig

GONE = b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","reason":"Expired","code":410}}\n'
PODS = "/api/v1/pods"
_KEPT = ("Authorization", "Accept", "Content-Type")


class Relay:
    """Relays to one API server.

    Attributes:
        lists: Lists of pods that were answered.
        waiting: Lists of pods that wait for ``release``.
        watching: Watches of pods under way.
    """

    def __init__(self, loops: LoopThread, far: Access) -> None:
        self.lists = self.waiting = self.watching = 0
        self._loops = loops
        self._far = far
        self._gone, self._open = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._port = 0
        self._session: aiohttp.ClientSession
        self._runner: web.AppRunner

    async def start(self) -> None:
        """Listen."""
        trust = ssl.create_default_context(cadata=self._far.authority)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close everything."""
        self._end()
        await self._runner.cleanup()
        await self._session.close()

    def access(self, path: Path) -> Path:
        """A kubeconfig for it."""
        return kubeconfig(path, f"http://127.0.0.1:{self._port}", self._far.token)

    def end_watches(self) -> None:
        """Tell every watch under way that it must list again."""
        self._loops.loop.call_soon_threadsafe(self._end)

    def hold(self) -> None:
        """Have lists of pods wait."""
        self._loops.loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Answer them."""
        self._loops.loop.call_soon_threadsafe(self._open.set)

    def _end(self) -> None:
        gone, self._gone = self._gone, asyncio.Event()
        gone.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        url, body = f"{self._far.server}{request.path_qs}", await request.read()
        if "watch" in request.query:
            async with self._session.get(url, headers=headers) as answer:
                return await self._watch(request, answer)
        listing = request.path == PODS
        if listing:
            self.waiting += 1
            await self._open.wait()
            self.waiting -= 1
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            response = web.Response(status=answer.status, body=await answer.read(), content_type="application/json")
        self.lists += listing
        return response

    async def _watch(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        gone, response = self._gone, web.StreamResponse(status=answer.status)
        await response.prepare(request)
        self.watching += request.path == PODS
        ends = [asyncio.create_task(_pump(answer, response)), asyncio.create_task(gone.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.watching -= request.path == PODS
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        if gone.is_set():
            with suppress(ConnectionError):
                await response.write(GONE)
        return response


async def _pump(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """Whole lines only: what is told in between must not fall into one."""
    async for line in answer.content:
        await response.write(line)


@contextmanager
def relaying(loops: LoopThread, far: Access) -> Iterator[Relay]:
    """A relay until the end of the block."""

    async def made() -> Relay:
        relay = Relay(loops, far)
        await relay.start()
        return relay

    relay = loops.run(made())
    try:
        yield relay
    finally:
        loops.run(relay.stop())
