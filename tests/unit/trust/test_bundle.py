"""The live bundle: what backends say, and what is kept of those that say nothing."""

import asyncio
import logging

import pytest

from signer.core.chain import TrustBundle
from signer.core.errors import BackendRefused, BackendUnavailable
from signer.observe.health import BackendState, Health
from signer.trust.bundle import PART, LiveBundle
from tests.support.clock import FakeClock
from tests.support.fakes import AnnouncingBackend, FakeBackend
from tests.support.pki import CA_WINDOW, Ca, make_ca
from tests.support.waiting import give_up, settle, until

A, B, C = (make_ca(f"root {letter}") for letter in "abc")


def _bundle(*roots: Ca) -> TrustBundle:
    return TrustBundle.of(ca.certificate for ca in roots)


def _live(*backends: FakeBackend, patience: float = 60.0, interval: float = 3600.0) -> tuple[LiveBundle, Health]:
    health = Health((PART,))
    return LiveBundle(backends, health, FakeClock(), interval=interval, patience=patience), health


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
