"""The CAs of the signers behind one backend: each signer of a domain has its own, and none limits another's leaves."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from backends.remote import learning
from backends.remote.learning import LearntCa
from signer.core.chain import TrustBundle
from signer.core.errors import BackendUnavailable
from signer.core.spec import BackendContext
from signer.core.types import IssuerInfo

MAX_SIGNERS = 32


class SignersCas:
    """What is known of each signer's CA, by the signer's name.

    Args:
        roots_file: The only roots that are believed, where there is one.
        context: The backend's.
        many: Whether there may be several signers.
    """

    def __init__(self, roots_file: Path | None, context: BackendContext, many: bool) -> None:
        self._make = partial(LearntCa, roots_file, context)
        self._many = many
        # Before anybody has signed, the file's roots are known all the same.
        self._unnamed = self._make()
        self._named: dict[str, LearntCa] = {}
        self._callbacks: list[Callable[[], None]] = []

    def check_room(self, signer: str) -> None:
        """Check that one more signer's CA can be remembered; done before it signs.

        Raises:
            BackendUnavailable: There are too many whose leaves live.
        """
        if signer in self._named or len(self._named) < MAX_SIGNERS:
            return
        ended = next((name for name, ca in self._named.items() if not ca.has_living_leaves()), None)
        if ended is None:
            raise BackendUnavailable(f"{MAX_SIGNERS} signers have signed, and their leaves live: {signer} is one more")
        del self._named[ended]

    async def of(self, signer: str) -> LearntCa:
        """The CA of a signer that has signed."""
        if signer not in self._named:
            made = self._make()
            await made.refresh()
            if signer not in self._named:
                made.on_change(self._announce)
                self._named[signer] = made
        return self._named[signer]

    def end(self, signer: str) -> datetime | None:
        """When the CA of a signer ends, where that is known; of the only one, ``info`` has told it already."""
        known = self._named.get(signer) if self._many else None
        window = known.info().window if known is not None else None
        return window[1] if window is not None else None

    def info(self) -> IssuerInfo:
        """Describe all of them; which of several signs next is not known, so then neither is a window."""
        infos = [ca.info() for ca in self._named.values()] or [self._unnamed.info()]
        if not self._many:
            return infos[0]
        roots = TrustBundle.of(root for info in infos for root in info.roots).roots
        return IssuerInfo(roots, configured=all(info.configured for info in infos))

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when another CA has signed, or other roots are believed."""
        self._callbacks.append(callback)

    async def refresh(self) -> bool:
        """Read the file of roots again, for each; tell whether it has changed. Never raises."""
        changed = [await ca.refresh() for ca in (self._unnamed, *self._named.values())]
        return any(changed)

    async def run(self) -> None:
        """Follow the file for ever."""
        while True:
            await asyncio.sleep(learning.FILE_SECONDS)
            if await self.refresh():
                self._announce()

    def _announce(self) -> None:
        for callback in self._callbacks:
            callback()
