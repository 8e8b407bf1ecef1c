"""What a backend must be able to do to have the root that it signs under replaced."""

from typing import Protocol

from cryptography import x509

from signer.core.rotation import Rotation


class RotationRefused(Exception):
    """The CA cannot do a step; the message says why and what to do. Nothing was changed, or doing it again is safe."""


class RootRotator(Protocol):
    """One CA. Every step may be done again at any time and then ends in the same place: the first try may have died."""

    async def current(self) -> tuple[x509.Certificate, ...]:
        """Give the roots that it signs under now.

        Raises:
            RotationRefused: They are not known.
        """
        ...

    async def prepare(self, rotation: Rotation) -> x509.Certificate:
        """Make the issuer that comes, which must not sign yet; give its root.

        Raises:
            RotationRefused: It cannot.
        """
        ...

    async def switch(self, rotation: Rotation) -> None:
        """Have it sign. Errors: as ``prepare``."""
        ...

    async def retire(self, rotation: Rotation) -> None:
        """Take the old root away, and what the rotation has left lying about. Errors: as ``prepare``."""
        ...

    async def discard(self, rotation: Rotation) -> None:
        """Take away what ``prepare`` has made. Errors: as ``prepare``."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
