"""An API server that knows TokenReview only and shows faults on demand; for good verdicts it believes any token.

For faults that the real one cannot be made to show; what the real one shows is tested with the real one.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jwt
import yaml
from aiohttp import web

from signer.authn.token_review import GROUP, PATH
from tests.server.loop import LoopThread
from tests.server.running import ACCOUNT, NAMESPACE

Respond = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
KEY = "a key that nobody checks, long enough for HMAC"


def token(**claims: object) -> str:
    """A token that looks right; each one differs."""
    content = {"aud": ["istio-ca"], "exp": time.time() + 600, "jti": str(time.monotonic_ns()), **claims}
    return jwt.encode(content, KEY)


def status(**changes: object) -> dict[str, Any]:
    """A good verdict with changes; None takes a field away."""
    user = {
        "username": f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}",
        "groups": [GROUP],
        "extra": {"authentication.kubernetes.io/pod-name": ["p"], "authentication.kubernetes.io/pod-uid": ["u"]},
    }
    whole = {"authenticated": True, "user": user, "audiences": ["istio-ca"], **changes}
    return {key: value for key, value in whole.items() if value is not None}


def verdict(**changes: object) -> Respond:
    """Answer with a verdict."""

    async def respond(_: web.Request, review: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({**review, "status": status(**changes)}, status=201)

    return respond


def body(text: str, code: int = 201, kind: str = "application/json") -> Respond:
    """Answer with any text, ``TOKEN`` in it replaced by the token as a chatty proxy might."""

    async def respond(_: web.Request, review: dict[str, Any]) -> web.StreamResponse:
        shown = text.replace("TOKEN", review["spec"]["token"])
        return web.Response(text=shown, status=code, content_type=kind)

    return respond


async def hang(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """Never answer; ends when the asker has gone."""
    # aiohttp tells a handler of a closed connection by this alone.
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return web.Response()


async def drip(request: web.Request, review: dict[str, Any]) -> web.StreamResponse:
    """Send a good verdict, a byte every 50 ms: more than anybody waits for."""
    response = web.StreamResponse(status=201, headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with suppress(ConnectionError):  # the asker has had enough
        for byte in json.dumps({**review, "status": status()}).encode():
            await response.write(bytes([byte]))
            await asyncio.sleep(0.05)
    return response


class Gate:
    """Good verdicts that wait until somebody opens."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()

    async def respond(self, request: web.Request, review: dict[str, Any]) -> web.StreamResponse:
        """Wait, then answer."""
        await self._opened.wait()
        return await verdict()(request, review)

    def open(self, loops: LoopThread) -> None:
        """Let the answers go."""
        loops.loop.call_soon_threadsafe(self._opened.set)


async def cut(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """Close the connection instead of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class FakeApi:
    """Set ``respond`` to a fault; ``once`` holds answers for the next calls, first come first."""

    def __init__(self) -> None:
        self.respond: Respond = verdict()
        self.once: list[Respond] = []
        self.calls = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; on the port of the first time, if there was one."""
        application = web.Application(client_max_size=4 * 1024 * 1024)
        application.router.add_post(PATH, self._answer)
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        respond = self.once.pop(0) if self.once else self.respond
        return await respond(request, await request.json())

    def kubeconfig(self, path: Path) -> Path:
        """How to reach it."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "signer", "user": {"token": "the-signers-own-credential"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "signer"}}],
            "current-context": "fake",
        }
        path.write_text(yaml.safe_dump(document))
        return path


@contextmanager
def faking(loops: LoopThread) -> Iterator[FakeApi]:
    """A fake until the end of the block."""
    fake = FakeApi()
    loops.run(fake.start())
    try:
        yield fake
    finally:
        loops.run(fake.stop())
