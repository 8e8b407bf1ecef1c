"""Tokens that nobody is to use any more: given back, so that they do not gather in Vault until they end."""

import logging
from collections import deque

from backends.patience import Hanging, PatientThread
from backends.vault.login import Lease, LoginFailed, revoke
from backends.vault.settings import VaultSettings
from signer.core.spec import BackendContext

_log = logging.getLogger("istio_signer.backend.vault")
# A token that was replaced is given back when the calls that still carry it have ended.
FAREWELL_SECONDS = 10.0
MAX_RETIRED = 8
_REVOKE_SECONDS = 2.0
_THREAD_SECONDS = 5.0


class RetiredTokens:
    """The latest of them; what does not fit ends by itself."""

    def __init__(self, settings: VaultSettings, context: BackendContext) -> None:
        self._settings = settings
        self._context = context
        self._waiting: deque[tuple[float, Lease]] = deque(maxlen=MAX_RETIRED)

    def add(self, lease: Lease) -> None:
        """Give this back later, if it is ours to give."""
        if lease.ours:
            self._waiting.append((self._context.clock.monotonic() + FAREWELL_SECONDS, lease))

    async def give_due(self) -> None:
        """Give back the one that has waited long enough. Never raises, ends within seconds."""
        if self._waiting and self._context.clock.monotonic() >= self._waiting[0][0]:
            await self._give(self._waiting.popleft()[1])

    async def give_all(self) -> None:
        """Give back all of them now, the latest first."""
        while self._waiting:
            await self._give(self._waiting.pop()[1])

    async def _give(self, lease: Lease) -> None:
        try:
            # A thread each: one that hangs keeps no other token from being given back.
            await PatientThread(_THREAD_SECONDS).do(lambda: revoke(self._settings, lease, _REVOKE_SECONDS))
        except (Hanging, LoginFailed):
            _log.info("backend %s: a token was not given back; it ends by itself", self._context.name)
