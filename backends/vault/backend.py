"""Signs each leaf in Vault."""

import asyncio
import random
from collections.abc import Callable

from backends.vault.answers import Reply, fault, signed
from backends.vault.authority import VaultAuthority
from backends.vault.http import VaultHttp
from backends.vault.session import VaultSession
from backends.vault.settings import VaultSettings
from backends.vault.signer import VaultCaller, leaf_body
from signer.core.errors import BackendUnavailable
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, IssuerInfo, SigningRequest

REFRESH_SECONDS = 30.0
PROBE_SECONDS = 2.0


class VaultBackend:
    """A PKI mount of one Vault."""

    def __init__(self, settings: VaultSettings, context: BackendContext) -> None:
        self.name = context.name
        self._settings = settings
        self._clock = context.clock
        self._http = VaultHttp(settings)
        self._session = VaultSession(settings, context)
        self._authority = VaultAuthority(settings, self._http, context.clock, context.name)
        self._caller = VaultCaller(settings, self._http, self._session)
        self._callbacks: list[Callable[[], None]] = []

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Have Vault sign; the CA that comes with the answer is known before the answer is given on.

        Raises:
            BackendUnavailable: Sealed, throttled, down, no login, an answer that is none.
            BackendRefused: Vault's role or policy is against it.
            BackendTimeout: No answer in time.
        """
        answer = signed(await self._caller.post(leaf_body(request, self._clock.now())))
        authority, changed = self._authority.learn(answer, request)
        if changed:
            self._announce()
        return IssuedChain(answer.leaf, authority.issuers)

    async def issuer(self) -> IssuerInfo:
        """Describe the mount's CA, from memory.

        Raises:
            BackendUnavailable: Vault was never reached.
        """
        return self._authority.info()

    async def probe(self) -> None:
        """Ask after Vault's health, and whether we are logged in.

        Raises:
            BackendUnavailable: One of both is not well.
        """
        error = fault(await health(self._http), "sys/health")
        if error is not None:
            raise BackendUnavailable(error.reason)
        if self._session.fault:
            raise BackendUnavailable(f"no login to Vault: {self._session.fault}")

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when Vault signs with another CA."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Log in and learn the CA, side by side."""
        await asyncio.gather(self._session.tend(), self._authority.refresh())

    async def run(self) -> None:
        """Keep the token and what is known of the CA fresh."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._session.run())
            group.create_task(self._watch())

    async def close(self) -> None:
        """Give the token back and close the connections."""
        await self._session.close()
        await self._http.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS * random.uniform(0.8, 1.0))  # noqa: S311  spreads, hides nothing
            if await self._authority.refresh():
                self._announce()

    def _announce(self) -> None:
        for callback in self._callbacks:
            callback()


async def health(http: VaultHttp) -> Reply:
    """Ask after Vault's health; a performance standby signs as well as the active one."""
    return await http.call("GET", "sys/health?standbyok=true&perfstandbyok=true", PROBE_SECONDS)
