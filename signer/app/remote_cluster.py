"""One cluster that a remote secret names: what judges its callers, and what is being opened to take its place."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from signer.authn.clusters import ByCluster
from signer.core.ports import Authenticator
from signer.kube.api import ApiUnavailable, NoCluster
from signer.observe.health import Note
from signer.observe.logs import frames_of

_log = logging.getLogger("istio_signer.app.remote")
BUILD_SECONDS = 30.0
CLOSE_SECONDS = 3.0
_FIRST_PAUSE = 0.5
_LAST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class BuiltCluster:
    """What judges the callers of one cluster.

    Attributes:
        authenticator: The judge.
        run: Background work to do for ever, where there is any; begun again where it ends.
        close: Called once, before the connection is closed.
    """

    authenticator: Authenticator
    run: Callable[[], Coroutine[Any, Any, None]] | None
    close: Callable[[], Awaitable[None]]


class Live:
    """A cluster's judge at work; ``opened`` closes it and its connection."""

    def __init__(self, name: str, built: BuiltCluster, opened: AsyncExitStack) -> None:
        self.authenticator = built.authenticator
        self._name = name
        self._opened = opened
        self._work = None if built.run is None else asyncio.get_running_loop().create_task(self._keep(built.run))

    async def close(self) -> None:
        """End its work and close what it holds; where that takes over ``CLOSE_SECONDS``, leave it be."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await _ended(self._work)
                await self._opened.aclose()
        except TimeoutError:
            _log.warning("cluster %s: not closed within %g s", self._name, CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001  whatever it is, it is that cluster's
            _bug(self._name, "closing", error)

    async def _keep(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work for ever; what has worked for longer than the longest pause starts from the shortest again."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            started = loop.time()
            await self._run_once(run)
            failures = 1 if loop.time() - started > _LAST_PAUSE else failures + 1
            await _pause(failures)

    async def _run_once(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await run()
        except Exception as error:  # noqa: BLE001  whatever it is, it is that cluster's
            _bug(self._name, "its background work", error)
        else:
            _log.error("cluster %s: bug: its background work has ended by itself", self._name)


class Remote:
    """One cluster, from the first that is heard of it to the last.

    Args:
        name: Its id.
        clusters: Where its judge is put.
        open_live: Connects and makes the judge, or raises.
        leave: Has something closed without being waited for.
    """

    def __init__(
        self,
        name: str,
        clusters: ByCluster,
        open_live: Callable[[str, Mapping[str, Any]], Awaitable[Live]],
        leave: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._name, self._clusters, self._open_live, self._leave = name, clusters, open_live, leave
        self._live: Live | None = None
        self._config: Mapping[str, Any] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._trouble = ""
        self._secret_fault = ""

    def want(self, config: Mapping[str, Any]) -> None:
        """Open by this kubeconfig, and no longer by an earlier one."""
        self._give_up()
        self._config, self._secret_fault = config, ""
        self._complain("it is being connected")
        self._opening = asyncio.get_running_loop().create_task(self._open(config))

    def secret_broken(self, why: str) -> None:
        """Show what is wrong with its secret; callers meet it only where nothing works or is being opened."""
        self._secret_fault = why
        if self._live is None and self._config is None:
            self._clusters.put_broken(self._name, why)

    def note(self) -> Note:
        """Its line of the health report."""
        faults = [fault for fault in (self._secret_fault, self._trouble) if fault]
        works = "connected" if self._live else "not connected"
        return Note(not faults, f"cluster {self._name}: {'; '.join([works, *faults])}")

    def close(self) -> None:
        """Give up what is being opened, and close what works, at once as far as callers can see."""
        self._give_up()
        self._config = None
        self._clusters.drop(self._name)
        if self._live is not None:
            self._leave(self._live.close())
            self._live = None

    def _give_up(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._leave(_ended(self._opening))
            self._opening = None

    def _complain(self, why: str) -> None:
        self._trouble = why
        if self._live is None:
            self._clusters.put_broken(self._name, why)

    async def _open(self, config: Mapping[str, Any]) -> None:
        failures, told = 0, ""
        while fault := await self._attempt(config):
            if fault != told:
                _log.warning("cluster %s: %s; it is tried again", self._name, fault)
            told = fault
            self._complain(fault)
            failures += 1
            await _pause(failures)

    async def _attempt(self, config: Mapping[str, Any]) -> str:
        """Swap where it can be opened; else say why not."""
        try:
            live = await self._open_live(self._name, config)
        except (NoCluster, ApiUnavailable) as error:
            return str(error) or type(error).__name__
        except TimeoutError:
            return f"not ready within {BUILD_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001  whatever it is, it is that cluster's
            return _bug(self._name, "connecting", error)
        self._swap(live, config)
        return ""

    def _swap(self, live: Live, config: Mapping[str, Any]) -> None:
        """The new one takes over before the old one is closed."""
        if self._config is not config:
            # Given up, and opened all the same: a library has swallowed the cancellation.
            self._leave(live.close())
            return
        old, self._live, self._trouble = self._live, live, ""
        self._clusters.put(self._name, live.authenticator)
        _log.info("cluster %s: connected", self._name)
        if old is not None:
            self._leave(old.close())


def _bug(name: str, where: str, error: Exception) -> str:
    _log.error("cluster %s: bug in %s: %s\n%s", name, where, type(error).__name__, frames_of(error))
    return f"bug in {where}: {type(error).__name__}"


async def _pause(failures: int) -> None:
    ceiling = min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 10))
    await asyncio.sleep(ceiling * random.uniform(0.5, 1.0))  # noqa: S311  spreads, hides nothing


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task}, timeout=CLOSE_SECONDS)
