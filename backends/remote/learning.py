"""The CA of a far side that shows it in its answers only: read, remembered, and told of when it changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from backends.remote.authorities import Authorities
from backends.remote.parsing import certificates
from backends.remote.roots import RootsFile
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, IssuerInfo, SigningRequest

FILE_SECONDS = 10.0
_GIVEN = "the certificates in the answer"
_END = "-----END CERTIFICATE-----"


class LearntCa:
    """What one backend knows of its far side's CA.

    Args:
        roots_file: The only roots that are believed, where there is one.
        context: The backend's.
    """

    def __init__(self, roots_file: Path | None, context: BackendContext) -> None:
        self._clock = context.clock
        self._file = RootsFile(roots_file, context.name)
        self._known = Authorities()
        self._callbacks: list[Callable[[], None]] = []

    async def read(self, chain: str, ca: str = "", asked: SigningRequest | None = None) -> IssuedChain:
        """Read an answer; its CA is known before the answer is given on.

        Args:
            chain: PEM, the leaf first, then what is above it.
            ca: PEM, the CA that was given beside it.
            asked: What it answers; nothing is learnt of a leaf with another key.

        Raises:
            BackendUnavailable: It holds no certificate, or a broken one; or too many CAs have signed.
        """
        first, end, rest = chain.partition(_END)
        leaf, above = certificates(first + end, _GIVEN)[0], f"{rest}\n{ca}".strip()
        authority, changed = self._known.learn(
            above, lambda: certificates(above, _GIVEN) if above else [], leaf, self._clock.now(), asked
        )
        if authority.signer is None or (changed and not authority.chain):
            # Under a root that is not known: the file may have it by now.
            changed = await self.refresh() or changed
        if changed:
            self._announce()
        return IssuedChain(leaf, authority.issuers)

    def info(self) -> IssuerInfo:
        """Describe the CA, as far as it is known."""
        return self._known.info(self._clock.now())

    def has_living_leaves(self) -> bool:
        """Tell whether a leaf of any CA seen here may live."""
        return self._known.has_living_leaves(self._clock.now())

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when another CA has signed, or other roots are believed."""
        self._callbacks.append(callback)

    def move_on(self) -> None:
        """Take note that another CA, which nobody has seen yet, signs from now on."""
        self._known.move_on()
        self._announce()

    async def refresh(self) -> bool:
        """Read the file of roots again; tell whether it has changed. Never raises."""
        await self._file.refresh()
        return self._known.pin(self._file.roots)

    async def run(self) -> None:
        """Follow the file for ever."""
        while True:
            await asyncio.sleep(FILE_SECONDS)
            if await self.refresh():
                self._announce()

    def _announce(self) -> None:
        for callback in self._callbacks:
            callback()
