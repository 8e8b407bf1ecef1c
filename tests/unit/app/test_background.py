"""Background work of backends: begun again, ever more slowly, and told without what it may quote."""

import asyncio
import logging
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from signer.app import server as app
from signer.app.background import keep_running
from tests.support import virtual_time
from tests.support.fakes import FakeBackend


class Failing(FakeBackend):
    """Its work fails, or ends, as often as told."""

    def __init__(self, *faults: Exception | None, lasts: float = 0.0) -> None:
        super().__init__("vault")
        self.faults = list(faults)
        self.lasts = lasts
        self.starts: list[float] = []

    async def run(self) -> None:
        """Fail."""
        self.starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.lasts)
        if not self.faults:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fail(self.faults.pop(0)))

    async def _fail(self, fault: Exception | None) -> None:
        if fault is not None:
            raise fault


async def watch(backend: Failing, seconds: float) -> list[float]:
    """Keep it running for a while; give the seconds between its starts."""
    work = asyncio.create_task(keep_running("backend vault", backend.run))
    await asyncio.sleep(seconds)
    assert not work.done()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return [later - earlier for earlier, later in zip(backend.starts, backend.starts[1:], strict=False)]


def test_it_is_begun_again_ever_more_slowly() -> None:
    gaps = virtual_time.run(lambda: watch(Failing(*[RuntimeError("hunter2")] * 500), 3600.0))
    assert gaps[0] <= 2.0
    assert all(30.0 <= gap <= 60.0 for gap in gaps[8:])
    assert len(gaps) > 50


def test_after_a_long_good_time_the_first_pause_is_short() -> None:
    gaps = virtual_time.run(lambda: watch(Failing(*[RuntimeError("hunter2")] * 500, lasts=100.0), 3600.0))
    assert all(gap <= 101.0 for gap in gaps)


@pytest.mark.parametrize(("fault", "told"), [(RuntimeError("hunter2"), "RuntimeError"), (None, "ended by itself")])
def test_it_is_told_where_and_never_what(fault: Exception | None, told: str, caplog: pytest.LogCaptureFixture) -> None:
    """A message may quote a credential; frames show where the bug is, also inside a group of tasks."""
    gaps = virtual_time.run(lambda: watch(Failing(fault), 60.0))
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert told in record.getMessage()
    assert "backend vault" in record.getMessage()
    assert ("in _fail" in record.getMessage()) is (fault is not None)
    assert "hunter2" not in caplog.text
    assert len(gaps) == 1


def test_a_cancellation_of_something_else_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A library may pass one on; a group of tasks would take it for the work's own end, and say nothing."""

    async def play() -> int:
        starts = 0

        async def run() -> None:
            nonlocal starts
            starts += 1
            other = asyncio.get_running_loop().create_future()
            other.cancel()
            await other

        work = asyncio.create_task(keep_running("backend vault", run))
        await asyncio.sleep(10.0)
        assert not work.done()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return starts

    assert virtual_time.run(play) > 1
    assert "backend vault: bug: its background work has ended by a cancellation" in caplog.text


def test_the_server_runs_its_backends_so() -> None:
    """Or the failure of one would end the process."""
    backend = Failing(RuntimeError("once"))

    async def play() -> bool:
        work = asyncio.create_task(backend_service(backend))
        await asyncio.sleep(10.0)
        alive = not work.done()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return alive

    assert virtual_time.run(play)
    assert len(backend.starts) == 2


def backend_service(backend: FakeBackend) -> Coroutine[Any, Any, None]:
    """What a server of this backend runs for it."""
    other = SimpleNamespace(run=asyncio.Event().wait)
    parts = dict.fromkeys(("bundle", "serving", "reload", "clock_watch"), other)
    duties, callers = SimpleNamespace(services={}), SimpleNamespace(services={}, synced=[])
    given = SimpleNamespace(backends={"vault": backend}, deny=None, duties=duties, callers=callers, **parts)
    services = app._services(given)  # type: ignore[arg-type]
    service = services.pop("backend-vault")
    for unused in services.values():
        unused.close()
    return service
