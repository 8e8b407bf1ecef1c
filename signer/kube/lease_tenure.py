"""Whether this process leads at this moment: the clock alone tells, so that one that was frozen wakes as none."""

import asyncio
import logging
from collections.abc import Callable
from math import inf

from signer.core.ports import Clock

_log = logging.getLogger("istio_signer.kube.lease")
LOOK_SECONDS = 0.5


class Tenure:
    """The time for which we may act as leader.

    Args:
        clock: Of this process.
        window: Seconds that a renewal gives us, from when it was sent.
        on_change: Told of each gain and loss, on the event loop.
    """

    def __init__(self, clock: Clock, window: float, on_change: Callable[[bool], None]) -> None:
        self._clock = clock
        self._window = window
        self._on_change = on_change
        self._until = -inf
        self._told = False
        self._gained = asyncio.Event()
        self.term = 0

    @property
    def leads(self) -> bool:
        """Computed at each look, from any thread."""
        return self._clock.monotonic() < self._until

    @property
    def left(self) -> float:
        """Seconds; 0 where we do not lead."""
        return max(0.0, self._until - self._clock.monotonic())

    def hold(self, sent: float, term: int) -> None:
        """A renewal that was sent at ``sent`` (seconds, monotonic) has been accepted."""
        # A lapse that nobody has looked at yet is told before it is mended.
        self.look()
        self._until, self.term = sent + self._window, term
        self.look()

    def drop(self) -> None:
        """Lead no longer."""
        self._until = -inf
        self.look()

    def look(self) -> None:
        """Tell of a change, if there is one."""
        if (leads := self.leads) == self._told:
            return
        self._told = leads
        if leads:
            self._gained.set()
        else:
            self._gained.clear()
        _log.info("this process leads, term %d" if leads else "this process leads no longer, term was %d", self.term)
        try:
            self._on_change(leads)
        except Exception:  # noqa: BLE001  it is told whole
            _log.exception("who was told of a change of leader failed; elections go on")

    async def watch(self) -> None:
        """Look for ever, for a tenure ends without an event."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    async def wait(self) -> None:
        """Return while we lead."""
        while not self.leads:
            self.look()
            await self._gained.wait()
