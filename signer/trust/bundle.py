"""The trust bundle of now: the roots of all backends in use, and how each of them does."""

import asyncio
import logging
from collections.abc import Sequence

from signer.core.chain import TrustBundle
from signer.core.errors import BackendError
from signer.core.ports import AnnouncesChange, Backend
from signer.core.types import IssuerInfo
from signer.observe.health import BackendState, Health
from signer.observe.logs import frames_of

_log = logging.getLogger("istio_signer.trust")
PART = "trust-bundle"


class LiveBundle:
    """Holds the bundle that answers carry and are verified against.

    A backend that cannot be asked keeps the roots it had: its leaves are out there, and somebody must verify them.

    Args:
        backends: All backends that sign.
        health: Told how each backend does, and when the first bundle is there.
        interval: Seconds between two looks.
        patience: Seconds that one backend has to answer.
    """

    def __init__(
        self, backends: Sequence[Backend], health: Health, interval: float = 10.0, patience: float = 3.0
    ) -> None:
        self._backends = tuple(backends)
        self._health = health
        self._interval = interval
        self._patience = patience
        self._known: dict[str, IssuerInfo] = {}
        self._bundle = TrustBundle.of(())
        self._changed = asyncio.Event()
        for backend in self._backends:
            if isinstance(backend, AnnouncesChange):
                backend.on_change(self._changed.set)

    def current(self) -> TrustBundle:
        """The bundle as of the last look."""
        return self._bundle

    def issuers(self) -> dict[str, IssuerInfo]:
        """What is known of each backend's CA, by backend name."""
        return dict(self._known)

    async def refresh(self) -> TrustBundle:
        """Ask every backend now, side by side, each within its patience."""
        states = await asyncio.gather(*map(self._look, self._backends))
        for backend, state in zip(self._backends, states, strict=True):
            self._health.backend(backend.name, state)
        self._rebuild()
        return self._bundle

    async def run(self) -> None:
        """Look at the backends for ever: at intervals, and at once when one announces a change."""
        while True:
            self._changed.clear()
            await self.refresh()
            try:
                async with asyncio.timeout(self._interval):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _look(self, backend: Backend) -> BackendState:
        try:
            async with asyncio.timeout(self._patience):
                info = await backend.issuer()
                # Roots that make no bundle must fail here, where it is this backend's fault alone.
                TrustBundle.of(info.roots)
                self._known[backend.name] = info
                await backend.probe()
            return BackendState(True, not_after=info.window[1].timestamp() if info.window else None)
        except TimeoutError:
            return BackendState(False, f"no answer within {self._patience} s")
        except BackendError as error:
            return BackendState(False, error.reason)
        except Exception as error:  # noqa: BLE001  whatever it is, it must not keep the other backends from signing
            return self._bug(backend, error)

    def _bug(self, backend: Backend, error: Exception) -> BackendState:
        """Log a bug's frames, but once and not at each look; never its message, which may quote anything."""
        state = BackendState(False, f"bug: {type(error).__name__}")
        if self._health.backends().get(backend.name) != state:
            frames = frames_of(error)
            _log.error("backend %s: %s\n%s", backend.name, state.reason, frames)
        return state

    def _rebuild(self) -> None:
        fresh = TrustBundle.of(root for info in self._known.values() for root in info.roots)
        if fresh.digest == self._bundle.digest:
            return
        self._bundle = fresh
        _log.info("trust bundle is now %s with %d root(s)", fresh.digest[:16], len(fresh.roots))
        if fresh.roots:
            self._health.done(PART)
