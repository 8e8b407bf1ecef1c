"""A whole server, put together and served as the command does it, on ports of its own."""

import argparse
import asyncio
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.app.assemble import Server, assemble
from signer.app.server import serve
from signer.authn.development import DevelopmentIssuer
from signer.cli import development
from signer.cli.common import settings_of
from signer.config.load import Loaded, load, merge
from signer.core.identity import TrustDomain
from signer.runtime.clock import SystemClock
from tests.cluster.poll import until
from tests.corpus.build import URI, good_csr
from tests.server.calls import Call, Client, Reply, bearer
from tests.server.lines import Lines, captured
from tests.server.loop import OWNER, LoopThread

NAMESPACE, ACCOUNT = "payments", "api"
"""Of the identity that all good CSRs of `tests.corpus` ask for."""
START_LIMIT = 20.0
STOP_LIMIT = 20.0


@dataclass
class Running:
    """A server at work."""

    server: Server
    loops: LoopThread
    task: "asyncio.Task[None]"
    stopping: asyncio.Event
    log: Lines
    audit: Lines
    issuer: DevelopmentIssuer | None
    mint: Callable[[], str]

    @property
    def address(self) -> str:
        """For gRPC."""
        return f"127.0.0.1:{self.server.listener.port}"

    def good(self) -> Call:
        """A call that must succeed, with a new token of the identity in the corpus."""
        return Call(good_csr(), bearer(self.mint()))

    def roots(self) -> bytes:
        """What clients trust, the serving certificate included where a backend made it."""
        return self.server.bundle.current().pem.encode()

    def client(self, roots: bytes | None = None) -> Client:
        """A new channel."""
        return Client(self.address, roots or self.roots())

    def send(self, call: Call) -> Reply:
        """Make one call over a connection of its own."""
        with self.client() as client:
            return client.send(call)

    def http(self, path: str) -> tuple[int, str]:
        """GET from the admin port: status and text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.admin.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_ready(self) -> None:
        """Wait until requests can come."""
        until(self._is_ready, deadline=START_LIMIT, what="the server to be ready")

    def _is_ready(self) -> bool:
        if self.task.done():
            raise AssertionError(f"the server ended: {self.task.exception()!r}")
        return self.server.health.ready

    def begin_stop(self) -> None:
        """What SIGTERM does."""
        self.loops.loop.call_soon_threadsafe(self.stopping.set)

    def stop(self) -> None:
        """End in good order; an error of the server's is raised here."""
        self.begin_stop()
        self.loops.run(_ended(self.task), STOP_LIMIT)


async def _ended(task: "asyncio.Task[None]") -> None:
    await task


def configuration(directory: Path, **over: Any) -> dict[str, Any]:
    """What `serve --development` would use on free ports, quick to reload, with changes over it."""
    arguments = argparse.Namespace(directory=directory, grpc="127.0.0.1:0", http="127.0.0.1:0")
    quick = {"backends": {"local": {"reload_interval": "100ms"}}}
    return merge(merge(development.base_config(arguments), quick), over)


def loaded(config: Mapping[str, Any]) -> Loaded:
    """Check a configuration; no environment variable counts."""
    return load(None, settings_of, environment={}, base=dict(config))


@contextmanager
def running(
    loops: LoopThread,
    directory: Path,
    config: Mapping[str, Any],
    *,
    mint: Callable[[], str] | None = None,
    ready: bool = True,
    read_again: Callable[[], Loaded | None] = lambda: None,
) -> Iterator[Running]:
    """A server until the end of the block.

    Args:
        loops: Where it runs.
        directory: Gets its log and audit.
        config: The whole configuration.
        mint: Makes good tokens; None means the development issuer.
        ready: Wait until it is.
        read_again: Gives a changed configuration, or None.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with captured(directory) as (sinks, log, audit):
        clock, checked = SystemClock(), loaded(config)
        issuer = None if mint else DevelopmentIssuer(TrustDomain("cluster.local"), "Kubernetes", "istio-ca", clock)

        async def start() -> tuple[Server, "asyncio.Task[None]", asyncio.Event]:
            OWNER.set(str(directory))
            server, stop = await assemble(checked, clock, sinks, issuer, read_again), asyncio.Event()
            return server, asyncio.create_task(serve(server, stop), name="serve"), stop

        server, task, stop = loops.run(start())
        at_work = Running(server, loops, task, stop, log, audit, issuer, mint or _mint(issuer))
        try:
            if ready:
                at_work.wait_ready()
            yield at_work
        finally:
            at_work.stop()
            loops.assert_idle(str(directory))
        _assert_no_bug_was_logged(log)


def _mint(issuer: DevelopmentIssuer | None) -> Callable[[], str]:
    assert issuer is not None, "without a development issuer, tokens must come from elsewhere"
    return lambda: issuer.mint(NAMESPACE, ACCOUNT, f"{ACCOUNT}-{os.urandom(4).hex()}")


def _assert_no_bug_was_logged(log: Lines) -> None:
    odd = [line for line in log.since(0) if not str(line["logger"]).startswith("istio_signer")]
    assert not odd, f"a library complained: {odd}"


__all__ = ["ACCOUNT", "NAMESPACE", "URI", "Running", "configuration", "loaded", "running"]
