"""One cluster that a remote secret names: what judges its callers, and what is being opened to take its place."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

from signer.app.background import log_bug
from signer.app.live_cluster import Live, ended
from signer.authn.clusters import ByCluster
from signer.core.backoff import pause_after
from signer.kube.answer import ApiUnavailable
from signer.kube.no_cluster import NoCluster
from signer.observe.health import Note

_log = logging.getLogger("istio_signer.app.remote")
BUILD_SECONDS = 30.0
_FIRST_PAUSE = 0.5
_LAST_PAUSE = 30.0
T = TypeVar("T")


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
        self._ready = False
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
        works = "connected" if self._live and self._ready else "not connected"
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
            self._leave(ended(self._opening))
            self._opening = None

    def _complain(self, why: str) -> None:
        self._trouble = why
        if self._live is None:
            self._clusters.put_broken(self._name, why)

    async def _open(self, config: Mapping[str, Any]) -> None:
        """Put a new one in place: at once where there is none, else not before it has shown that it can judge."""
        live = await self._until(partial(self._open_live, self._name, config))
        placed = False
        try:
            if placed := self._live is None and self._config is config:
                self._swap(live)
            await self._until(partial(_ready, live))
            if not placed and (placed := self._config is config):
                self._swap(live)
        finally:
            if not placed:
                # Given up; or opened all the same, where a library has swallowed the cancellation.
                self._leave(live.close())
        if self._config is config:
            self._ready, self._trouble = True, ""
            _log.info("cluster %s: connected", self._name)

    async def _until(self, step: Callable[[], Awaitable[T]]) -> T:
        """Try until it is done, and show meanwhile why it is not."""
        failures, told = 0, ""
        while True:
            done, fault = await self._attempt(step)
            if done is not None:
                return done
            if fault != told:
                _log.warning("cluster %s: %s; it is tried again", self._name, fault)
            told = fault
            self._complain(fault)
            failures += 1
            await asyncio.sleep(pause_after(failures, _FIRST_PAUSE, _LAST_PAUSE, random.random()))  # noqa: S311

    async def _attempt(self, step: Callable[[], Awaitable[T]]) -> tuple[T | None, str]:
        """What it gives, or why not."""
        try:
            return await step(), ""
        except (NoCluster, ApiUnavailable) as error:
            return None, str(error) or type(error).__name__
        except TimeoutError:
            return None, f"not ready within {BUILD_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001  whatever it is, it is that cluster's
            return None, log_bug(f"cluster {self._name}", "connecting", error)

    def _swap(self, live: Live) -> None:
        """The new one takes over before the old one is closed."""
        old, self._live = self._live, live
        self._clusters.put(self._name, live.authenticator)
        live.take_over()
        if old is not None:
            self._leave(old.close())


async def _ready(live: Live) -> Live:
    async with asyncio.timeout(BUILD_SECONDS):
        await live.ready()
    return live
