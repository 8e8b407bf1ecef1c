"""Notices when the wall clock jumps: certificates that were good may have ended, or may not have begun.

The wall clock is compared with the clock that only grows. Machines that were suspended, and time servers that were
wrong for long, show here before the first handshake fails for no visible reason.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from signer.core.ports import Clock

_log = logging.getLogger("istio_signer.clock")
TICK = 5.0
JUMP = timedelta(minutes=5)


class ClockWatch:
    """Compares the clocks.

    Args:
        clock: Both of them.
        told: Called with each jump; positive ones lead into the future.
    """

    def __init__(self, clock: Clock, told: Callable[[timedelta], None]) -> None:
        self._clock = clock
        self._told = told
        self._wall, self._steady = clock.now(), clock.monotonic()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(TICK)

    def look(self) -> None:
        """Look once. Small corrections, as a time server makes all the time, are no jumps, however many there are."""
        wall, steady = self._clock.now(), self._clock.monotonic()
        jump = (wall - self._wall) - timedelta(seconds=steady - self._steady)
        self._wall, self._steady = wall, steady
        if abs(jump) <= JUMP:
            return
        way = "ahead" if jump > timedelta(0) else "back"
        _log.error(
            "the clock has jumped %s by %.0f s, to %s: certificates may have ended or not begun; check its time",
            way,
            abs(jump.total_seconds()),
            wall.isoformat(timespec="seconds"),
        )
        self._told(jump)
