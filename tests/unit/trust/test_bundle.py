"""The live bundle: what backends say, and what is kept of those that say nothing."""

import asyncio
import logging

import pytest

from signer.core.chain import TrustBundle
from signer.core.errors import BackendRefused, BackendUnavailable
from signer.observe.health import BackendState, Health
from signer.trust.bundle import PART, LiveBundle
from tests.support import virtual_time
from tests.support.clock import FakeClock
from tests.support.fakes import AnnouncingBackend, FakeBackend
from tests.support.pki import CA_WINDOW, Ca, make_ca
from tests.support.waiting import give_up, settle, until

A, B, C = (make_ca(f"root {letter}") for letter in "abc")


def _bundle(*roots: Ca) -> TrustBundle:
    return TrustBundle.of(ca.certificate for ca in roots)


def _live(*backends: FakeBackend, patience: float = 60.0, interval: float = 3600.0) -> tuple[LiveBundle, Health]:
    health = Health((PART,))
    return LiveBundle(backends, health, FakeClock(), interval=interval, patience=patience, pause=0.0), health


async def test_union_of_all_backends() -> None:
    """Whoever signs, is trusted."""
    live, health = _live(FakeBackend("a", A), FakeBackend("b", B))
    assert live.current() == _bundle()
    assert health.pending == [PART]
    assert await live.refresh() == live.current() == _bundle(A, B)
    assert health.pending == []
    assert health.backends()["a"] == BackendState(True, "", CA_WINDOW[1].timestamp())


async def test_what_is_known_of_each() -> None:
    """For metrics and for the serving certificate."""
    live, _ = _live(FakeBackend("a", A))
    await live.refresh()
    assert live.issuers()["a"].chain == (A.certificate,)


@pytest.mark.parametrize("part", ["describing", "probing"])
@pytest.mark.parametrize("error", [BackendUnavailable("sealed"), BackendRefused("no")], ids=repr)
async def test_a_failing_backend_keeps_its_roots(part: str, error: Exception) -> None:
    """Its leaves are out there, and somebody must verify them."""
    a, b = FakeBackend("a", A), FakeBackend("b", B)
    live, health = _live(a, b)
    await live.refresh()
    getattr(a, part).fault = error
    assert await live.refresh() == _bundle(A, B)
    assert health.backends()["a"] == BackendState(False, str(error))
    assert health.backends()["b"].up
    assert health.ready


@pytest.mark.parametrize("part", ["describing", "probing"])
async def test_a_backends_bug_is_its_own(part: str, caplog: pytest.LogCaptureFixture) -> None:
    """The others go on; the log shows where, once, and never the text, which may quote a secret."""
    a, b = FakeBackend("a", A), FakeBackend("b", B)
    getattr(a, part).fault = KeyError("hunter2")
    live, health = _live(a, b)
    await live.refresh()
    await live.refresh()
    assert health.backends()["a"] == BackendState(False, "bug: KeyError")
    assert health.backends()["b"].up
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage().startswith("backend a: bug: KeyError\n")
    assert "fakes.py" in record.getMessage()
    assert "hunter2" not in caplog.text


async def test_a_backend_that_describes_nothing() -> None:
    """What makes no bundle is not remembered."""
    a, b = FakeBackend("a", A), FakeBackend("b", B)
    a.roots = (Ca(None, A.key),)  # type: ignore[arg-type]
    live, health = _live(a, b)
    assert await live.refresh() == _bundle(B)
    assert health.backends()["a"].reason.startswith("bug: ")


async def test_a_backend_that_hangs() -> None:
    """Bounded, and the others are not held up."""
    a, b = FakeBackend("a", A), FakeBackend("b", B)
    a.describing.held = True
    live, health = _live(a, b, patience=0.01)
    assert await live.refresh() == _bundle(B)
    assert health.backends()["a"] == BackendState(False, "no answer within 0.01 s")


async def test_no_root_no_readiness() -> None:
    """Without a bundle nothing can be answered."""
    backend = FakeBackend("a", A)
    backend.describing.fault = BackendUnavailable("down")
    live, health = _live(backend)
    await live.refresh()
    assert health.pending == [PART]
    backend.describing.fault = None
    await live.refresh()
    assert health.pending == []


async def test_a_root_that_is_gone_is_gone() -> None:
    """A backend that answers is believed, in what it leaves out as well."""
    backend = FakeBackend("a", A)
    backend.roots = (A, B)
    live, _ = _live(backend)
    await live.refresh()
    backend.roots = (B,)
    assert await live.refresh() == _bundle(B)


async def test_a_change_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the digest that replicas can be compared by."""
    caplog.set_level(logging.INFO)
    live, _ = _live(FakeBackend("a", A))
    await live.refresh()
    await live.refresh()
    (record,) = caplog.records
    assert record.getMessage() == f"trust bundle is now {_bundle(A).digest[:16]} with 1 root(s)"


async def test_an_announced_change_is_looked_at_at_once() -> None:
    """Not an interval later."""
    backend = AnnouncingBackend("a", A)
    live, _ = _live(backend)
    running = asyncio.create_task(live.run())
    await until(lambda: live.current() == _bundle(A))
    backend.swap(C)
    await until(lambda: live.current() == _bundle(C))
    looks = backend.describing.calls
    await settle()
    assert backend.describing.calls == looks == 2
    await give_up(running)


async def test_a_change_during_a_look_is_not_lost() -> None:
    """It is looked at again."""
    backend = AnnouncingBackend("a", A)
    backend.probing.held = True
    live, _ = _live(backend)
    running = asyncio.create_task(live.run())
    await backend.probing.entered.wait()
    backend.swap(B)
    backend.probing.opened.set()
    await until(lambda: live.current() == _bundle(B))
    await give_up(running)


async def test_looks_at_intervals() -> None:
    """A backend that announces nothing is asked again and again."""
    backend = FakeBackend("a", A)
    live, _ = _live(backend, interval=0.001)
    async with asyncio.timeout(30):
        running = asyncio.create_task(live.run())
        while backend.describing.calls < 3:
            backend.describing.entered.clear()
            await backend.describing.entered.wait()
    await give_up(running)


async def test_askers_at_once_share_two_looks() -> None:
    """One that has begun, and the next: what an asker has seen may be newer than what the first has read."""
    backend = FakeBackend("a", A)
    backend.probing.held = True
    live, _ = _live(backend)
    first = asyncio.create_task(live.refresh())
    await backend.probing.entered.wait()
    backend.roots = (A, B)
    later = [asyncio.create_task(live.refresh()) for _ in range(200)]
    await settle()
    backend.probing.opened.set()
    assert await first == _bundle(A)
    assert set(await asyncio.gather(*later)) == {_bundle(A, B)}
    assert backend.probing.calls == 2


async def test_an_asker_who_goes_away_ends_nobody_elses_look() -> None:
    backend = FakeBackend("a", A)
    backend.probing.held = True
    live, _ = _live(backend)
    askers = [asyncio.create_task(live.refresh()) for _ in range(3)]
    await backend.probing.entered.wait()
    await give_up(askers[0])
    late = asyncio.create_task(live.refresh())
    await settle()
    await give_up(late)
    backend.probing.opened.set()
    assert await askers[1] == await askers[2] == _bundle(A)
    assert await live.refresh() == _bundle(A)
    assert backend.probing.calls == 2


async def test_after_all_have_gone_away_the_next_one_is_served() -> None:
    """Nobody joins a look that is being cancelled."""
    backend = FakeBackend("a", A)
    backend.probing.held = True
    live, _ = _live(backend)
    for _ in range(3):
        asker = asyncio.create_task(live.refresh())
        await settle()
        asker.cancel()
        await asyncio.sleep(0)
    backend.probing.held = False
    assert await live.refresh() == _bundle(A)
    await asyncio.gather(asker, return_exceptions=True)
    await settle()


def test_changes_without_end_are_looked_at_a_few_times_a_second() -> None:
    """As of a backend behind which two CAs take turns; the last change is never lost."""

    async def play() -> tuple[int, TrustBundle]:
        backend = AnnouncingBackend("a", A)
        live = LiveBundle([backend], Health((PART,)), FakeClock())
        running = asyncio.create_task(live._watch())
        for number in range(1001):
            backend.swap((A, B)[number % 2])
            await asyncio.sleep(0.002)
        backend.swap(C)
        await asyncio.sleep(0.25)
        await give_up(running)
        return backend.describing.calls, live.current()

    looks, last = virtual_time.run(play)
    assert 8 <= looks <= 14
    assert C.certificate in last.roots


def test_a_first_change_is_looked_at_at_once() -> None:
    async def play() -> float:
        backend = AnnouncingBackend("a", A)
        live = LiveBundle([backend], Health((PART,)), FakeClock())
        running = asyncio.create_task(live._watch())
        await asyncio.sleep(1.0)
        backend.describing.entered.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        backend.swap(B)
        await backend.describing.entered.wait()
        await give_up(running)
        return loop.time() - began

    assert virtual_time.run(play) == 0.0


def test_askers_without_end_cost_a_few_looks_a_second() -> None:
    """As where each answer is refused, and each refusal asks for a look."""

    async def play() -> int:
        backend = FakeBackend("a", A)
        live = LiveBundle([backend], Health((PART,)), FakeClock())
        backend.probe = lambda: asyncio.sleep(0.01)  # type: ignore[method-assign]

        async def ask(after: float) -> None:
            await asyncio.sleep(after)
            await live.refresh()

        await asyncio.gather(*(ask(number * 0.001) for number in range(2000)))
        return backend.describing.calls

    assert virtual_time.run(play) <= 13
