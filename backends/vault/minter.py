"""Has Vault sign an intermediate: by ``MOUNT/root/sign-intermediate``, or by any signing path that makes CAs."""

import asyncio
from typing import Any

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


class VaultMinter:
    """The upstream of an intermediate that Vault signs."""

    def __init__(self, settings: VaultSettings, context: BackendContext) -> None:
        self._settings = settings
        self._http = VaultHttp(settings)
        self._session = VaultSession(settings, context)
        self._caller = VaultCaller(settings, self._http, self._session)
        self._authority = VaultAuthority(settings, self._http, context.clock, context.name)
        self.run = self._session.run

    async def mint(self, order: CaOrder) -> MintedCa:
        """Have an intermediate signed. Errors: as ``VaultCaller.post``."""
        answer = signed(await self._caller.post(self._body(order, await self._seconds(order))))
        above = describe(answer.issuers(), answer.leaf)
        return MintedCa(answer.leaf, above.issuers, self._authority.pinned or above.roots)

    async def start(self) -> None:
        """Log in and learn the CA."""
        await asyncio.gather(self._session.tend(), self._authority.refresh())

    async def close(self) -> None:
        """Give the token back and close the connections."""
        await self._session.close()
        await self._http.close()

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
