"""An API server with many pods, in a process of its own: pages, watches with constant changes, keys of tokens."""

import asyncio
import gzip
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from signer.kube.collection import PAGE
from tests.bench.population import Population

ISSUER = "https://bench.example"
GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'
# kube-apiserver compresses answers by this, too.
LEVEL = 1


class PodApi:
    """One cluster.

    Args:
        population: Its pods.
        rate: Events a second on each watch of pods.
        jwks: The public keys, as JSON.
    """

    def __init__(self, population: Population, rate: float, jwks: str) -> None:
        self._population = population
        self._pause = 1.0 / rate
        self._jwks = jwks
        self._gone = asyncio.Event()
        self._version = 1000
        count = population.count
        starts = range(0, count, PAGE)
        pages = ([population.pod(n, 1) for n in range(first, min(first + PAGE, count))] for first in starts)
        self._pods = [_page(page, number + 1 if number + 1 < len(starts) else 0) for number, page in enumerate(pages)]
        self._accounts = _page(population.accounts(), 0)

    def application(self) -> web.Application:
        """What it answers."""
        made = web.Application()
        made.router.add_get("/api/v1/pods", self._answer_pods)
        made.router.add_get("/api/v1/serviceaccounts", self._answer_accounts)
        made.router.add_get("/openid/v1/jwks", self._answer_jwks)
        made.router.add_get("/.well-known/openid-configuration", self._answer_issuer)
        made.router.add_post("/bench/gone", self._end_watches)
        return made

    async def _answer_pods(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request, changes=True)
        return _compressed(self._pods[int(request.query.get("continue", "0"))])

    async def _answer_accounts(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request, changes=False)
        return _compressed(self._accounts)

    async def _answer_jwks(self, _: web.Request) -> web.Response:
        return web.Response(text=self._jwks, content_type="application/jwk-set+json")

    async def _answer_issuer(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": ISSUER})

    async def _end_watches(self, _: web.Request) -> web.Response:
        """Tell every watch under way that its version is gone."""
        gone, self._gone = self._gone, asyncio.Event()
        gone.set()
        return web.Response()

    async def _watch(self, request: web.Request, changes: bool) -> web.StreamResponse:
        gone, response = self._gone, web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while not gone.is_set() and request.transport is not None and not request.transport.is_closing():
            with suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), self._pause if changes else 1.0)
            with suppress(ConnectionError):  # the asker has gone: the loop ends
                if gone.is_set():
                    await response.write(GONE)
                elif changes:
                    await response.write(self._change())
        return response

    def _change(self) -> bytes:
        self._version += 1
        number = random.randrange(self._population.count)
        return f'{{"type":"MODIFIED","object":{self._population.pod(number, self._version)}}}\n'.encode()


def _page(items: list[str], following: int) -> bytes:
    more = f',"continue":"{following}"' if following else ""
    text = f'{{"metadata":{{"resourceVersion":"1000"{more}}},"items":[{",".join(items)}]}}'
    return gzip.compress(text.encode(), LEVEL)


def _compressed(data: bytes) -> web.Response:
    return web.Response(body=data, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def serve(api: PodApi, tell: Callable[[int], None]) -> None:
    """Serve until SIGTERM; ``tell`` the port once it does."""
    runner = web.AppRunner(api.application(), handle_signals=False, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    tell(runner.addresses[0][1])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Take COUNT RATE JWKS READY from the command line."""
    count, rate, jwks, ready = sys.argv[1:5]
    api = PodApi(Population(int(count)), float(rate), Path(jwks).read_text(encoding="ascii"))

    def tell(port: int) -> None:
        Path(ready).write_text(json.dumps({"port": port, "pid": os.getpid()}), encoding="ascii")

    asyncio.run(serve(api, tell))


if __name__ == "__main__":
    main()
