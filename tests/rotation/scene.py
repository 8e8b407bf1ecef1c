"""Rotations as values, and steps that are done more than once."""

from dataclasses import replace

from cryptography import x509

from signer.core.rotation import Phase, Rotation
from signer.core.rotator import RootRotator
from signer.runtime.clock import SystemClock

CLOCK = SystemClock()


async def begun(rotator: RootRotator, mark: str, handle: str = "") -> Rotation:
    """A rotation whose intent to prepare is written down, and nothing more."""
    return Rotation(mark, "ca", Phase.PREPARING, await rotator.current(), CLOCK.now(), handle=handle)


async def prepared(rotator: RootRotator, rotation: Rotation) -> Rotation:
    """Prepare, twice: the first try may have died after it."""
    first, second = await rotator.prepare(rotation), await rotator.prepare(rotation)
    assert first == second
    return replace(rotation, phase=Phase.SWITCHING, new=first)


def root_of(pem: str) -> x509.Certificate:
    """Parse one."""
    return x509.load_pem_x509_certificate(pem.encode())
