"""Signs with a CA of its own that an upstream minted: the key is made in memory, rotated in time, and never written.

The upstream is asked a few times a day instead of for every leaf. While it is down the CA in use signs on until its
end; every failure is counted, and told the louder the less time is left.
"""

import asyncio
import logging
import random
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta

from backends.held.ca import HeldCa, UnusableCa
from backends.held.leaf import sign_leaf
from backends.intermediate.generations import Generation, Generations
from backends.intermediate.minting import AnnouncesUpstream, CaOrder, IntermediateSettings, Minter
from backends.intermediate.order import accept, new_order
from backends.remote.parsing import BrokenAnswer
from signer.core.backoff import pause_after
from signer.core.errors import BackendError, BackendRefused, BackendTimeout, BackendUnavailable
from signer.core.events import BackendEvent, BackendMoment
from signer.core.keys import CaPrivateKey
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, IssuerInfo, SigningRequest
from signer.core.validity import renewal_due

_log = logging.getLogger("istio_signer.backend.intermediate")
PATIENCE = timedelta(seconds=6)
# What stands around the upstream's own time-out: a login, a look at what it shows.
AROUND = timedelta(seconds=4)
# The server waits no longer for a backend; what is not minted by then is asked for again, by the same order.
START_SECONDS = 8.0
_TICK = 0.25
_FIRST_RETRY = 0.5
_LAST_RETRY = 60.0


class IntermediateBackend:
    """A backend whose upstream is a minter.

    Args:
        minter: The upstream.
        settings: The ``intermediate`` section.
        context: The backend's.
        patience: The upstream's own time-out for one certificate.
    """

    def __init__(
        self,
        minter: Minter,
        settings: IntermediateSettings,
        context: BackendContext,
        patience: timedelta = PATIENCE,
    ) -> None:
        self.name = context.name
        self.answers_at_once = True
        self._minter = minter
        self._settings = settings
        self._mint_seconds = (patience + AROUND).total_seconds()
        self._open_order: tuple[CaPrivateKey, CaOrder] | None = None
        self._context = context
        self._clock = context.clock
        self._generations = Generations()
        self._fault = "no signing certificate has been minted yet"
        self._failures = 0
        self._not_before = 0.0
        self._early = False
        self._info: IssuerInfo | None = None
        self._callbacks: list[Callable[[], None]] = []
        if isinstance(minter, AnnouncesUpstream):
            minter.on_upstream_change(self.renew_early)

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Sign a leaf; the key is in memory, so nothing is awaited.

        Raises:
            BackendUnavailable: There is no CA, or it has ended.
            BackendRefused: The signing key cannot sign.
        """
        current = self._current()
        try:
            leaf = sign_leaf(current.template, request)
        except ValueError as error:
            raise BackendRefused(f"the certificate cannot be made: {type(error).__name__}") from None
        return IssuedChain(leaf, current.ca.chain)

    async def issuer(self) -> IssuerInfo:
        """Describe the CA that signs now; the roots of those before and after it are among the roots.

        Raises:
            BackendUnavailable: There is none.
        """
        self._current()
        if self._info is None:
            raise BackendUnavailable(self._fault)
        return self._info

    async def probe(self) -> None:
        """Check that there is a CA, and that its successor is not overdue.

        Raises:
            BackendUnavailable: There is none, or it still signs but cannot be renewed: somebody should look.
        """
        current = self._current()
        if self._failures:
            end = current.ca.window[1].isoformat()
            raise BackendUnavailable(f"the CA in use signs until {end}, and cannot be renewed: {self._fault}")

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the CA or the roots change."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Get the upstream ready and ask once."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._minter.start()
        except TimeoutError:
            self._failed("the upstream was not ready in time")
            return
        await self._renew(min(START_SECONDS, self._mint_seconds))

    async def run(self) -> None:
        """Rotate for ever, beside the upstream's own work."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_minter())
            group.create_task(self._rotate())
            group.create_task(self._let_time_pass())

    async def close(self) -> None:
        """Drop the keys and close the upstream."""
        self._generations, self._info, self._fault = Generations(), None, "the backend is closed"
        self._open_order = None
        await self._minter.close()

    async def _run_minter(self) -> None:
        """The upstream's work must not end silently: without it the next renewal would fail, hours later."""
        while True:
            try:
                await self._minter.run()
            except Exception as error:  # noqa: BLE001  a bug there must not end what still signs
                frames = "".join(traceback.format_tb(error.__traceback__))
                _log.error("backend %s: bug in the upstream's work: %s\n%s", self.name, type(error).__name__, frames)
            await asyncio.sleep(_LAST_RETRY * random.uniform(0.05, 0.1))  # noqa: S311  spreads, hides nothing

    async def _rotate(self) -> None:
        """Wake often, since a wall clock may jump while a timer sleeps."""
        while True:
            await self.rotate()
            await asyncio.sleep(_TICK)

    async def _let_time_pass(self) -> None:
        """Beside the minting: a slow upstream must not keep a waiting certificate from taking over."""
        while True:
            self._use(self._generations.at(self._clock.now()))
            await asyncio.sleep(_TICK)

    async def rotate(self) -> None:
        """Do what is due now: let a waiting certificate take over, have the next one minted."""
        self._use(self._generations.at(self._clock.now()))
        if self._is_due() and self._clock.monotonic() >= self._not_before:
            await self._renew(self._mint_seconds)

    def _is_due(self) -> bool:
        newest = self._generations.newest
        return newest is None or self._early or self._clock.now() >= newest.due

    def renew_early(self) -> None:
        """The upstream's own CA has changed: what it minted before may soon lead nowhere."""
        self._early, self._not_before = True, 0.0
        # What was made for it may be the old CA's.
        self._open_order = None

    async def _renew(self, seconds: float) -> None:
        """Ask the upstream once; whatever goes wrong, the CA in use stays."""
        try:
            ca, now = await self._minted(seconds)
        except TimeoutError:
            self._failed(f"the upstream gave no answer within {seconds:.0f} s")
        except BackendError as error:
            self._failed(error.reason)
        except UnusableCa as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  anybody's minter; its text may quote anything
            self._failed(f"bug: {type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}")
        else:
            self._take(ca, now)

    async def _minted(self, seconds: float) -> tuple[HeldCa, datetime]:
        """Have an order signed; one that nobody has decided on is given again, as upstreams and humans may be slow."""
        key, order = opened = self._open_order or new_order(self._settings)
        self._open_order = None
        try:
            async with asyncio.timeout(seconds):
                minted = await self._minter.mint(order)
        except BrokenAnswer:
            # The same order might find the same broken certificate for ever.
            raise
        except (TimeoutError, asyncio.CancelledError, BackendUnavailable, BackendTimeout):
            self._open_order = opened
            raise
        now = self._clock.now()
        return accept(minted, key, now), now

    def _take(self, ca: HeldCa, now: datetime) -> None:
        for note in ca.notes:
            _log.warning("backend %s: %s", self.name, note)
        due = renewal_due(ca.window, self._context.grace_ratio, random.random())  # noqa: S311
        self._failures, self._fault, self._early = 0, "", False
        self._not_before = self._clock.monotonic() + _pause(ca, now)
        self._context.meter.count(BackendEvent.INTERMEDIATE_ROTATED)
        self._use(self._generations.arrived(ca, due, now, self._settings.new_root_delay))

    def _use(self, generations: Generations) -> None:
        if generations == self._generations:
            return
        before, self._generations = self._generations, generations
        self._info = generations.info()
        self._tell(before)
        for callback in self._callbacks:
            callback()

    def _tell(self, before: Generations) -> None:
        current, waiting = self._generations.current, self._generations.waiting
        if current is not None and current is not before.current:
            _log.info(
                "backend %s: intermediate %x in use, valid to %s, renewal at %s",
                self.name,
                current.ca.certificate.serial_number,
                current.ca.window[1].isoformat(),
                current.due.isoformat(),
            )
            self._context.meter.mark(BackendMoment.INTERMEDIATE_END, current.ca.window[1])
            self._context.meter.mark(BackendMoment.INTERMEDIATE_RENEWAL, current.due)
        if waiting is not None and waiting is not before.waiting:
            _log.warning(
                "backend %s: the upstream's root is new: it is in every answer from now on, and signs from %s",
                self.name,
                waiting.takes_over.isoformat(),
            )

    def _failed(self, fault: str) -> None:
        self._failures += 1
        self._fault = fault
        pause = pause_after(self._failures, _FIRST_RETRY, _LAST_RETRY, random.random())  # noqa: S311  spreads retries
        self._not_before = self._clock.monotonic() + pause
        self._context.meter.count(BackendEvent.INTERMEDIATE_FAILED)
        level, kept = _loudness(self._generations.current, self._clock.now())
        _log.log(level, "backend %s: no new intermediate, %s: %s", self.name, kept, fault)

    def _current(self) -> Generation:
        current = self._generations.current
        if current is None:
            raise BackendUnavailable(self._fault)
        if self._clock.now() >= current.ca.window[1]:
            raise BackendUnavailable(f"the CA ended at {current.ca.window[1].isoformat()}: {self._fault}")
        return current


def _pause(ca: HeldCa, now: datetime) -> float:
    """Seconds to the next attempt at least: an upstream in its last minutes mints CAs that are due at once."""
    return min(_LAST_RETRY, 0.1 * (ca.window[1] - now).total_seconds())


def _loudness(current: Generation | None, now: datetime) -> tuple[int, str]:
    """How loud a failure is told: once half of the time between renewal and end is gone, it is an error."""
    if current is None:
        return logging.ERROR, "and without one nothing is signed"
    end = current.ca.window[1]
    late = now >= current.due + (end - current.due) / 2
    return (logging.ERROR if late else logging.WARNING), f"the one in use signs until {end.isoformat()}, then nothing"
