"""Kept connections to one Vault: opened when first needed, and replaced without harm to whoever uses the old ones."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from backends.patience import Hanging, PatientThread
from backends.vault.settings import VaultSettings
from backends.vault.tls import tls_context
from signer.core.errors import BackendUnavailable

MAX_CONNECTIONS = 256
CONNECT_SECONDS = 3.0
REOPEN_SECONDS = 5.0
FILES_SECONDS = 5.0
_CLOSED = "the backend is closed"


class _Lent:
    """Connections with one TLS configuration, and how many requests are on them."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.opened = time.monotonic()
        self.users = 0


class Pool:
    """Lends connections."""

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._thread = PatientThread(FILES_SECONDS)
        self._current: _Lent | None = None
        self._old: set[_Lent] = set()
        self._opening: asyncio.Task[_Lent] | None = None
        self._closed = False

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Lend the connections for one request.

        Raises:
            BackendUnavailable: The backend is closed, or a file for TLS cannot be read.
        """
        lent = self._current or await self._opened()
        if self._closed:
            raise BackendUnavailable(_CLOSED)
        lent.users += 1
        try:
            yield lent.session
        finally:
            lent.users -= 1
            await self._close_idle()

    async def renew(self) -> None:
        """Have the next request read the files for TLS again, at most once in a while: they may be new.

        Requests on the connections that are there end in peace.
        """
        lent = self._current
        if lent is not None and time.monotonic() - lent.opened >= REOPEN_SECONDS:
            self._old.add(lent)
            self._current = None
            await self._close_idle()

    async def close(self) -> None:
        """Close all connections; none can be lent any more."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._current is not None:
            self._old.add(self._current)
            self._current = None
        while self._old:
            await self._old.pop().session.close()

    async def _close_idle(self) -> None:
        for lent in [old for old in self._old if not old.users]:
            self._old.discard(lent)
            await lent.session.close()

    async def _opened(self) -> _Lent:
        if self._closed:
            raise BackendUnavailable(_CLOSED)
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._opening_done)
        # Shared: whoever goes away leaves it to the others.
        opening = self._opening
        await asyncio.wait({opening})
        if opening.cancelled():
            raise BackendUnavailable(_CLOSED)
        return opening.result()

    def _opening_done(self, done: "asyncio.Task[_Lent]") -> None:
        self._opening = None
        # Looked at here, as everybody who waited may have gone away.
        if not done.cancelled():
            done.exception()

    async def _open(self) -> _Lent:
        """Read the files in a thread of its own: on a volume that hangs they would hold one of everybody's."""
        try:
            context = await self._thread.do(lambda: tls_context(self._settings))
        except Hanging as error:
            raise BackendUnavailable(f"ca_file or client certificate: {error}") from None
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=context)
        patience = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
        session = aiohttp.ClientSession(connector=connector, timeout=patience, trust_env=False)
        self._current = _Lent(session)
        return self._current
