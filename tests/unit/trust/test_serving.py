"""The serving certificate: renewed in time, and never taken away by a failure."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from signer.core.errors import BackendUnavailable, SignerError
from signer.trust import serving
from signer.trust.serving import KeyPair, PairUnavailable, Renewal, ServingCertificate, due_by_ratio
from tests.support.clock import DAY, HOUR, NOW, FakeClock
from tests.support.waiting import give_up, settle, until


def _pair(number: int, start: datetime = NOW) -> KeyPair:
    return KeyPair(b"key", b"chain %d" % number, (start, start + DAY), number)


@dataclass
class FakeSource:
    """Makes numbered pairs, or does not."""

    clock: FakeClock
    fault: Exception | None = None
    gone: bool = False
    made: int = 0

    async def obtain(self) -> KeyPair:
        """The next pair."""
        if self.fault is not None:
            raise self.fault
        self.made, self.gone = self.made + 1, False
        return _pair(self.made, self.clock.now())

    def due(self, pair: KeyPair) -> datetime:
        """At half its life."""
        return pair.window[0] + DAY / 2

    def stale(self, pair: KeyPair) -> bool:
        """As told."""
        return self.gone


@dataclass
class Desk:
    """A serving certificate with its parts in reach."""

    clock: FakeClock = field(default_factory=FakeClock)
    told: list[Renewal] = field(default_factory=list)
    running: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = FakeSource(self.clock)
        self.serving = ServingCertificate(self.source, self.clock, self.told.append)

    def start(self) -> None:
        """Have it run."""
        self.running.append(asyncio.create_task(self.serving.run()))

    def serial(self) -> int:
        """Of the pair in use."""
        return self.serving.pair.serial if self.serving.pair else 0

    async def becomes(self, serial: int) -> None:
        """Wait for a pair."""
        await until(lambda: self.serial() == serial)

    async def renewals(self, count: int) -> None:
        """Wait until so many attempts were told of."""
        await until(lambda: len(self.told) == count)


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """One to be started, that looks at its clock at each turn of the loop."""
    monkeypatch.setattr(serving, "_TICK", 0)
    made = Desk()
    yield made
    await give_up(*made.running)


async def test_first(desk: Desk) -> None:
    """Waits for the first pair."""
    desk.start()
    assert (await desk.serving.first()).serial == 1
    assert desk.told == [Renewal(True, desk.serving.pair, NOW + DAY / 2)]


async def test_renewed_when_due(desk: Desk) -> None:
    """At the moment that the source names, not before."""
    desk.start()
    await desk.becomes(1)
    desk.clock.advance(DAY / 2 - timedelta(seconds=1))
    await settle()
    assert desk.serial() == 1
    desk.clock.advance(1)
    await desk.becomes(2)


async def test_a_clock_that_jumps(desk: Desk) -> None:
    """The wall clock decides, wherever it comes from."""
    desk.start()
    await desk.becomes(1)
    desk.clock.set(NOW + 10 * DAY)
    await desk.becomes(2)


@pytest.mark.parametrize("fault", [PairUnavailable("no file"), BackendUnavailable("sealed")], ids=repr)
async def test_a_failure_keeps_the_old_one(fault: Exception, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """It serves until it ends; the failure is said and told."""
    desk.start()
    await desk.becomes(1)
    desk.source.fault = fault
    desk.clock.advance(DAY / 2)
    await desk.renewals(2)
    assert desk.serial() == 1
    assert desk.told[1] == Renewal(False, desk.serving.pair, None)
    message = caplog.records[-1].getMessage()
    assert message == f"no new serving certificate, the old one serves until 2025-06-02T12:00:00+00:00: {fault}"


async def test_a_bug_is_a_failed_renewal(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Told with its frames, never with its text; it does not end the process."""
    desk.start()
    await desk.becomes(1)
    desk.source.fault = KeyError("hunter2")
    desk.clock.advance(DAY / 2)
    await desk.renewals(2)
    assert desk.told[1] == Renewal(False, desk.serving.pair, None)
    message = caplog.records[-1].getMessage()
    assert "bug: KeyError\n" in message
    assert "in obtain" in message
    assert "hunter2" not in caplog.text
    desk.source.fault = None
    desk.clock.advance(60)
    await desk.becomes(2)


async def test_retries_back_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon at first, then more and more slowly, a minute at most."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    desk.source.fault = PairUnavailable("no")
    desk.start()
    await desk.renewals(1)
    for attempt, pause in enumerate([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0], start=1):
        desk.clock.advance(pause - 0.25)
        await settle()
        assert len(desk.told) == attempt
        desk.clock.advance(0.25)
        await desk.renewals(attempt + 1)


async def test_recovers(desk: Desk) -> None:
    """The next success ends the waiting."""
    desk.source.fault = PairUnavailable("no")
    desk.start()
    await desk.renewals(1)
    desk.source.fault = None
    desk.clock.advance(60)
    assert (await desk.serving.first()).serial == 1


async def test_stale(desk: Desk) -> None:
    """A pair whose root is gone goes before it is due."""
    desk.start()
    await desk.becomes(1)
    desk.source.gone = True
    await desk.becomes(2)


async def test_the_same_pair_again(caplog: pytest.LogCaptureFixture) -> None:
    """Files that did not change are no news."""
    caplog.set_level("INFO")
    desk = Desk()
    for _ in range(3):
        desk.source.made = 0
        await desk.serving.renew()
    assert len(caplog.records) == 1
    assert "serving certificate 1 in use" in caplog.records[0].getMessage()


@pytest.mark.parametrize("fault", [PairUnavailable("x"), BackendUnavailable("x")], ids=repr)
async def test_renew_says_whether_it_worked(fault: SignerError | PairUnavailable) -> None:
    """Without a pair in use as well."""
    desk = Desk()
    desk.source.fault = fault
    assert await desk.serving.renew() is False
    assert desk.serving.pair is None
    desk.source.fault = None
    assert await desk.serving.renew() is True


def test_a_key_pair_does_not_show_its_key() -> None:
    """Not in a log, not in a traceback's locals."""
    assert "SECRET" not in repr(KeyPair(b"SECRET", b"chain", (NOW, NOW + HOUR), 1))


@pytest.mark.parametrize(("chance", "due"), [(0.0, DAY / 2), (1.0, DAY / 2 - DAY / 100)])
def test_due_by_ratio(chance: float, due: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little earlier by chance, never later."""
    monkeypatch.setattr(random, "random", lambda: chance)
    assert due_by_ratio(_pair(1), 0.5) == NOW + due
