"""Orders and time: a slow upstream is waited for, and what it was asked for once is not asked for anew."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from backends.intermediate.backend import IntermediateBackend
from backends.intermediate.minting import CaOrder, IntermediateSettings, MintedCa
from backends.remote.parsing import BrokenAnswer
from signer.core import keys
from signer.core.errors import BackendRefused, BackendTimeout, BackendUnavailable
from signer.core.spec import BackendContext
from tests.support import virtual_time
from tests.support.pki import make_ca
from tests.support.virtual_time import LoopClock
from tests.unit.backends.intermediate.test_backend import Upstream

SLOW = timedelta(seconds=60)
HOUR = 3600.0


@dataclass
class SlowUpstream(Upstream):
    """Decides some time after the first order of an id, as a human or a distant approver does."""

    seconds: float = 0.0
    asked: dict[str, float] = field(default_factory=dict)

    async def mint(self, order: CaOrder) -> MintedCa:
        """Wait for the decision; what was decided before is found."""
        loop = asyncio.get_running_loop()
        decided = self.asked.setdefault(order.id, loop.time()) + self.seconds
        await asyncio.sleep(max(0.0, decided - loop.time()))
        return await super().mint(order)


async def run(upstream: SlowUpstream, backend: IntermediateBackend, seconds: float) -> None:
    """Start it as the server does, and let it work for a while."""
    await backend.start()
    work = asyncio.create_task(backend.run())
    await asyncio.sleep(seconds)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def made(patience: timedelta) -> tuple[SlowUpstream, IntermediateBackend]:
    """An upstream and its backend on this loop's clock."""
    clock = LoopClock(asyncio.get_running_loop())
    upstream = SlowUpstream(clock)  # type: ignore[arg-type]
    settings = IntermediateSettings(new_root_delay=timedelta(minutes=10))
    return upstream, IntermediateBackend(upstream, settings, BackendContext("upstream", clock), patience)


@pytest.mark.parametrize(("patience", "seconds"), [(SLOW, 40.0), (SLOW, 61.0), (timedelta(seconds=6), 11.0)])
def test_an_upstream_that_is_slow_is_waited_for_or_found_again(patience: timedelta, seconds: float) -> None:
    async def play() -> tuple[int, int]:
        upstream, backend = made(patience)
        upstream.seconds = seconds
        await run(upstream, backend, 120.0)
        return len(upstream.asked), len((await backend.issuer()).chain)

    assert virtual_time.run(play) == (1, 1), "one order, and a CA"


def test_a_start_that_is_given_up_keeps_its_order() -> None:
    async def play() -> int:
        upstream, backend = made(SLOW)
        upstream.seconds = 20.0
        starting = asyncio.create_task(backend.start())
        await asyncio.sleep(1.0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await run(upstream, backend, 60.0)
        return len(upstream.asked)

    assert virtual_time.run(play) == 1


def test_a_slow_upstream_does_not_keep_the_waiting_one_from_taking_over() -> None:
    async def play() -> tuple[bytes, bytes]:
        upstream, backend = made(timedelta(hours=2))
        work = asyncio.create_task(run(upstream, backend, 100 * HOUR))
        await asyncio.sleep(1.0)
        upstream.ca = make_ca("other root")
        backend.renew_early()
        await asyncio.sleep(61.0)
        before = (await backend.issuer()).chain[0].issuer.public_bytes()
        upstream.seconds = 1.5 * HOUR
        backend.renew_early()
        await asyncio.sleep(700.0)
        after = (await backend.issuer()).chain[0].issuer.public_bytes()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return before, after

    before, after = virtual_time.run(play)
    assert before != after


KEPT: dict[str, tuple[Exception, bool]] = {
    "away": (BackendUnavailable("sealed"), True),
    "undecided": (BackendTimeout("nobody has decided"), True),
    "broken": (BrokenAnswer("the certificates in the status cannot be parsed"), False),
    "turned down": (BackendRefused("denied"), False),
    "a bug": (RuntimeError(), False),
}


@pytest.mark.parametrize("case", KEPT)
def test_an_order_stays_open_until_it_is_decided(case: str) -> None:
    fault, kept = KEPT[case]

    async def play() -> tuple[CaOrder, CaOrder]:
        upstream, backend = made(SLOW)
        upstream.fault = fault
        await backend.start()
        upstream.fault = None
        await asyncio.sleep(60.0)
        await backend.rotate()
        first, second = upstream.orders
        return first, second

    first, second = virtual_time.run(play)
    assert (first.id == second.id) is kept
    assert (keys.spki(first.csr.public_key()) == keys.spki(second.csr.public_key())) is kept


def test_what_came_back_wrong_is_not_asked_for_again() -> None:
    """The same order might find the same wrong certificate for ever."""

    async def play() -> set[str]:
        upstream, backend = made(SLOW)
        upstream.lifetime = timedelta(seconds=1)
        await run(upstream, backend, 30.0)
        return {order.id for order in upstream.orders}

    assert len(virtual_time.run(play)) > 1


def test_a_change_of_the_upstream_closes_the_order() -> None:
    async def play() -> set[str]:
        upstream, backend = made(SLOW)
        upstream.fault = BackendUnavailable("away")
        await backend.start()
        backend.renew_early()
        await backend.rotate()
        return {order.id for order in upstream.orders}

    assert len(virtual_time.run(play)) == 2
