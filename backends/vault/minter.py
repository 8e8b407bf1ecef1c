"""Has Vault sign an intermediate: by ``MOUNT/root/sign-intermediate``, or by any signing path that makes CAs."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from backends.intermediate.minting import CaOrder, MintedCa
from backends.remote.authorities import describe
from backends.vault.answers import signed
from backends.vault.authority import VaultAuthority
from backends.vault.http import VaultHttp
from backends.vault.session import VaultSession
from backends.vault.settings import VaultSettings
from backends.vault.signer import VaultCaller
from signer.core.errors import BackendRefused
from signer.core.spec import BackendContext

REFRESH_SECONDS = 30.0


class VaultMinter:
    """The upstream of an intermediate that Vault signs."""

    def __init__(self, settings: VaultSettings, context: BackendContext) -> None:
        self._settings = settings
        self._http = VaultHttp(settings)
        self._session = VaultSession(settings, context)
        self._caller = VaultCaller(settings, self._http, self._session)
        self._authority = VaultAuthority(settings, self._http, context.clock, context.name)
        self._callbacks: list[Callable[[], None]] = []
        self._minted_at: tuple[x509.Certificate, ...] = ()
        self._told: tuple[x509.Certificate, ...] = ()

    async def mint(self, order: CaOrder) -> MintedCa:
        """Have an intermediate signed. Errors: as ``VaultCaller.post``."""
        seconds = await self._seconds(order)
        # As of before: should the CA change while this is signed, one more is minted.
        before = self._authority.shown()
        answer = signed(await self._caller.post(self._body(order, seconds)))
        self._minted_at = self._told = before
        above = describe(answer.issuers(), answer.leaf)
        return MintedCa(answer.leaf, above.issuers, self._authority.pinned or above.roots)

    async def start(self) -> None:
        """Log in and learn the CA."""
        await asyncio.gather(self._session.tend(), self._authority.refresh())

    async def run(self) -> None:
        """Keep the token fresh, and look for another CA of the mount."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._session.run())
            group.create_task(self._watch())

    def on_upstream_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when Vault shows another CA than the one of the last order."""
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Give the token back and close the connections."""
        await self._session.close()
        await self._http.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS * random.uniform(0.8, 1.0))  # noqa: S311  spreads, hides nothing
            await self._authority.refresh()
            self._look()

    def _look(self) -> None:
        """Tell of each other CA once: where a path signs with one that is never shown, nothing is ever told."""
        shown = self._authority.shown()
        if not self._minted_at or shown in (self._minted_at, self._told):
            return
        self._told = shown
        for callback in self._callbacks:
            callback()

    async def _seconds(self, order: CaOrder) -> int:
        """The lifetime to ask for: Vault refuses what would outlive its CA (leaf_not_after_behavior)."""
        await self._authority.refresh()
        left = self._authority.remaining()
        wanted = order.ttl if left is None else min(order.ttl, left)
        if wanted.total_seconds() < 1:
            raise BackendRefused("Vault's CA has ended")
        return int(wanted.total_seconds())

    def _body(self, order: CaOrder, seconds: int) -> dict[str, Any]:
        return {
            "csr": order.csr.public_bytes(Encoding.PEM).decode("ascii"),
            "common_name": order.common_name,
            "ttl": f"{seconds}s",
            "max_path_length": 0,
            "format": "pem",
            "use_csr_values": False,
        }
