"""The live bundle under the operator's word: pins, distrust, extra roots, and what is said of those left out."""

import asyncio
from pathlib import Path

import pytest

from signer.core.chain import TrustBundle, fingerprint
from signer.core.globs import Globs
from signer.observe.health import Health
from signer.trust import extras as extras_module
from signer.trust.bundle import PART, LiveBundle
from signer.trust.compose import TrustPolicy
from signer.trust.extras import ExtraRoots, ExtraRootsUnusable, ExtraRule
from tests.support import anchors
from tests.support.clock import HOUR, FakeClock
from tests.support.fakes import FakeBackend
from tests.support.pki import Ca, make_ca
from tests.support.waiting import give_up

A, B, C = (make_ca(f"root {letter}") for letter in "abc")
BAD = Ca(anchors.not_a_ca(), A.key)


def _bundle(*roots: Ca) -> TrustBundle:
    return TrustBundle.of(ca.certificate for ca in roots)


def _mark(ca: Ca) -> str:
    return fingerprint(ca.certificate)


def _live(policy: TrustPolicy, *shown: Ca, extras: ExtraRoots | None = None) -> tuple[LiveBundle, FakeBackend, Health]:
    backend, health = FakeBackend("a", A), Health((PART,))
    backend.roots = shown
    return LiveBundle([backend], health, FakeClock(), policy, extras, interval=3600.0), backend, health


async def test_pins() -> None:
    """A root that a CA has come to show of itself is not believed, nor remembered."""
    live, backend, _ = _live(TrustPolicy(HOUR, pins={"a": frozenset({_mark(A)})}), A)
    assert await live.refresh() == _bundle(A)
    backend.roots = (A, B)
    assert await live.refresh() == _bundle(A)
    assert list(live.record.roots) == [_mark(A)]


async def test_only_unpinned_roots_are_no_bundle() -> None:
    """So nobody is ready to sign."""
    live, _, health = _live(TrustPolicy(pins={"a": frozenset({_mark(A)})}), B)
    assert await live.refresh() == _bundle()
    assert health.pending == [PART]


async def test_distrust() -> None:
    """Of what a backend shows, and of what others remember."""
    policy = TrustPolicy(HOUR, distrust=frozenset({_mark(B), _mark(C)}))
    live, _, _ = _live(policy, A, B)
    other, _, _ = _live(TrustPolicy(HOUR), A, B, C)
    await other.refresh()
    live.remember(other.record)
    assert await live.refresh() == _bundle(A)


async def test_what_is_left_out_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """And again only where it has come back after it was gone."""
    live, backend, _ = _live(TrustPolicy(), A, BAD)
    for _ in range(3):
        await live.refresh()
    line = f"not trusted: backend a, {_mark(BAD)[:16]}: it is not a CA (RFC 5280 section 4.2.1.9)"
    assert [r.getMessage() for r in caplog.records] == [line]
    backend.roots = (A,)
    await live.refresh()
    backend.roots = (A, BAD)
    await live.refresh()
    assert [r.getMessage() for r in caplog.records] == [line, line]


async def test_what_goes_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Its leaves are refused from now on, and somebody will look for the reason."""
    caplog.set_level("INFO")
    live, backend, _ = _live(TrustPolicy(), A, B)
    await live.refresh()
    backend.roots = (B,)
    await live.refresh()
    assert f"no longer trusted: CN=root a ({_mark(A)[:16]})" in caplog.text
    assert "root b" not in caplog.text


async def test_extra_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all in the bundle, of some in their answers only; a change of a file is looked at at once."""
    monkeypatch.setattr(extras_module, "INTERVAL", 0.001)
    (tmp_path / "all").write_bytes(B.pem)
    (tmp_path / "some").write_bytes(C.pem)
    rules = [ExtraRule(tmp_path / "all"), ExtraRule(tmp_path / "some", namespaces=Globs(("payments",)))]
    live, backend, _ = _live(TrustPolicy(), A, extras=ExtraRoots(rules, FakeClock()))
    await live.start()
    assert await live.refresh() == _bundle(A, B)
    assert live.extended(live.current(), "c", "payments") == _bundle(A, B, C)
    assert live.extended(live.current(), "c", "billing") == _bundle(A, B)
    running = asyncio.create_task(live.run())
    changed = asyncio.Event()
    live.on_change(changed.set)
    (tmp_path / "all").write_bytes(C.pem)
    async with asyncio.timeout(30):
        await changed.wait()
    assert live.current() == _bundle(A, C)
    assert backend.describing.calls <= 4
    await give_up(running)


async def test_extra_roots_make_nobody_ready(tmp_path: Path) -> None:
    """There is somebody to trust, but nobody to sign."""
    (tmp_path / "all").write_bytes(B.pem)
    live, _, health = _live(TrustPolicy(), extras=ExtraRoots([ExtraRule(tmp_path / "all")], FakeClock()))
    await live.start()
    assert await live.refresh() == _bundle(B)
    assert health.pending == [PART]


async def test_an_unusable_file_is_no_start(tmp_path: Path) -> None:
    """See `ExtraRoots`."""
    live, _, _ = _live(TrustPolicy(), A, extras=ExtraRoots([ExtraRule(tmp_path / "all")], FakeClock()))
    with pytest.raises(ExtraRootsUnusable):
        await live.start()


async def test_own_roots_are_those_of_signers(tmp_path: Path) -> None:
    """Shown now, shown lately or remembered by another replica; never those that only a file brings."""
    (tmp_path / "all").write_bytes(B.pem + A.pem)
    extras = ExtraRoots([ExtraRule(tmp_path / "all")], FakeClock())
    live, backend, _ = _live(TrustPolicy(HOUR), A, extras=extras)
    assert live.own() == _bundle()
    await live.start()
    assert live.own() == _bundle()
    await live.refresh()
    assert (live.current(), live.own()) == (_bundle(A, B), _bundle(A))
    other, _, _ = _live(TrustPolicy(HOUR), C)
    await other.refresh()
    live.remember(other.record)
    assert (live.current(), live.own()) == (_bundle(A, B, C), _bundle(A, C))
    backend.roots = (B,)
    await live.refresh()
    assert live.own() == _bundle(A, B, C), "a root that a signer shows is ours, whatever the file says"


async def test_own_roots_go_with_the_operators_word() -> None:
    """Distrusted ones are nobody's."""
    live, _, _ = _live(TrustPolicy(HOUR, distrust=frozenset({_mark(B)})), A, B)
    await live.refresh()
    assert live.own() == _bundle(A)
