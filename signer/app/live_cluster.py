"""What judges the callers of one remote cluster, at work: its background tasks, and its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from signer.app.background import keep_running, log_bug
from signer.core.errors import AuthenticationUnavailable
from signer.core.ports import Authenticator
from signer.core.types import Caller, Credentials
from signer.kube.cancellation import is_own_end

_log = logging.getLogger("istio_signer.app.remote")
DRAIN_SECONDS = 5.0
CLOSE_SECONDS = 3.0


async def _at_once() -> None:
    """There is nothing to wait for."""


@dataclass(frozen=True, slots=True)
class BuiltCluster:
    """What judges the callers of one cluster.

    Attributes:
        authenticator: The judge.
        run: Background work to do for ever, where there is any; begun again where it ends.
        close: Called once, before the connection is closed.
        ready: Returns once it can judge, beside ``run``; may raise what connecting may.
        take_over: Called at the moment from which on it judges.
    """

    authenticator: Authenticator
    run: Callable[[], Coroutine[Any, Any, None]] | None
    close: Callable[[], Awaitable[None]]
    ready: Callable[[], Awaitable[None]] = _at_once
    take_over: Callable[[], None] = lambda: None


class InFlight:
    """Passes callers on to a judge, and knows how many are with it: who replaces it must not cut them off.

    Args:
        name: The cluster's id.
        inner: The judge.
    """

    def __init__(self, name: str, inner: Authenticator) -> None:
        self._inner = inner
        self._name = name
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def authenticate(self, credentials: Credentials) -> Caller:
        """As the judge does; where that is closed meanwhile, the caller must try again.

        Raises:
            AuthenticationFailed, AuthenticationUnavailable: As the judge.
        """
        self._count += 1
        self._idle.clear()
        try:
            return await self._inner.authenticate(credentials)
        except asyncio.CancelledError:
            if is_own_end():
                raise
            # Not the caller has gone away, but the question was: its connection was closed.
            raise AuthenticationUnavailable(f"cluster {self._name}: its connection was closed meanwhile") from None
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def drained(self) -> None:
        """Wait for the callers that are with it, ``DRAIN_SECONDS`` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._idle.wait()


class Live:
    """A cluster's judge at work; ``opened`` closes it and its connection."""

    def __init__(self, name: str, built: BuiltCluster, opened: AsyncExitStack) -> None:
        self.authenticator = InFlight(name, built.authenticator)
        self.ready, self.take_over = built.ready, built.take_over
        self._name = name
        self._opened = opened
        self._work: asyncio.Task[None] | None = None
        if built.run is not None:
            self._work = asyncio.get_running_loop().create_task(keep_running(f"cluster {name}", built.run))

    async def close(self) -> None:
        """Let its callers end, then its work, and close what it holds; what takes over ``CLOSE_SECONDS`` is left."""
        await self.authenticator.drained()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await ended(self._work)
                await self._opened.aclose()
        except TimeoutError:
            _log.warning("cluster %s: not closed within %g s", self._name, CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001  whatever it is, it is that cluster's
            log_bug(f"cluster {self._name}", "closing", error)


async def ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for it, ``CLOSE_SECONDS`` at most."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task}, timeout=CLOSE_SECONDS)
