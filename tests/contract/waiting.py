"""Waiting for a far side to have changed: by what it signs."""

import asyncio

from cryptography import x509

from signer.core.errors import BackendError
from signer.core.ports import Backend, Clock
from signer.core.types import SigningRequest
from tests.contract.far_side import asked_at

LIMIT = 30.0


async def issuer_of(backend: Backend, request: SigningRequest) -> bytes:
    """What tells the CA that signed: the key identifier or the bytes of the leaf's issuer; empty if nothing signs."""
    try:
        issued = await backend.sign(request)
    except BackendError:
        return b""
    found = issued.leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return found or issued.leaf.issuer.public_bytes()


class Changes:
    """Remembers who signed, and waits until somebody else does."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._before = b""

    async def note(self) -> None:
        """Remember who signs now."""
        self._before = await self.now()

    async def now(self) -> bytes:
        """Who signs now."""
        return await issuer_of(self._backend, asked_at(self._clock))

    async def seen(self) -> None:
        """Return once another CA signs.

        Raises:
            TimeoutError: None does within `LIMIT` seconds.
        """
        for _ in range(int(LIMIT / 0.05)):
            if await self.now() not in (b"", self._before):
                return
            await asyncio.sleep(0.05)
        raise TimeoutError(f"no other CA has signed within {LIMIT:g} s")
