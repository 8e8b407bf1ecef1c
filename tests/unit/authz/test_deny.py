"""The deny list at work: taken at the start, exchanged while it is asked, kept where the new one is bad."""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from signer.authz import deny
from signer.authz.deny import DenyService
from signer.authz.deny_file import DenyFileUnusable, Look
from signer.config.deny import parse_deny_list
from signer.core.deny import DenyList, key_digest
from signer.core.identity import SpiffeId
from signer.core.types import Grant, PodRef
from tests.corpus.build import URI, checked_csr
from tests.support.clock import HOUR, FakeClock
from tests.support.fakes import CALLER, GRANT
from tests.support.waiting import give_up

OTHER = SpiffeId.parse("spiffe://cluster.local/ns/istio-system/sa/ztunnel")
NODE = replace(CALLER, identity=OTHER, pod=PodRef("ztunnel-0", "uid-node"))
CSR = checked_csr()
KEY = key_digest(CSR.parsed.key)


class Desk:
    """A service and its file."""

    def __init__(self, path: Path, load: Callable[[bytes], DenyList] = parse_deny_list) -> None:
        self.path = path
        self.clock = FakeClock()
        self.service = DenyService(path, load, self.clock)

    async def use(self, text: str) -> DenyService:
        """Write the file and have it looked at."""
        self.path.write_text(text)
        await self.service.look()
        return self.service


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    """At work, denying nobody."""
    made = Desk(tmp_path / "deny.yaml")
    made.path.write_text("[]")
    await made.service.start()
    return made


async def test_nobody(desk: Desk) -> None:
    assert desk.service.caller_fault(CALLER) is None
    assert desk.service.order_fault(GRANT, CSR) is None
    assert desk.service.entries() == {"identity": 0, "pod_uid": 0, "key": 0, "serial": 0}
    assert not desk.service.refused


async def test_an_empty_list_costs_no_digest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that names no key."""
    monkeypatch.setattr(deny, "key_digest", lambda _: pytest.fail("the key is hashed"))
    desk.service.order_fault(GRANT, CSR)
    service = await desk.use("- {pod_uid: uid-9}\n- {identity: spiffe://cluster.local/ns/a/sa/b}\n- {serial: '1'}")
    assert service.order_fault(GRANT, CSR) is None


async def test_identity(desk: Desk) -> None:
    service = await desk.use(f"- {{identity: {URI}, reason: stolen node}}")
    fault = f"denied: identity {URI} (stolen node)"
    assert service.caller_fault(CALLER) == service.order_fault(GRANT, CSR) == fault
    assert service.caller_fault(NODE) is None


async def test_both_identities_of_who_acts_for_another(desk: Desk) -> None:
    for_another = Grant(CALLER.identity, NODE, impersonated=True)
    service = await desk.use(f"- {{identity: {URI}}}")
    assert service.order_fault(for_another, CSR) == f"denied: identity {URI}"
    service = await desk.use(f"- {{identity: {OTHER}}}")
    assert service.caller_fault(NODE) == service.order_fault(for_another, CSR) == f"denied: identity {OTHER}"


async def test_pod(desk: Desk) -> None:
    service = await desk.use("- {pod_uid: uid-0}")
    assert service.caller_fault(CALLER) == "denied: pod_uid uid-0"
    assert service.caller_fault(replace(CALLER, pod=PodRef("api-0", "uid-00"))) is None
    assert service.caller_fault(replace(CALLER, pod=None)) is None


async def test_serial_of_the_callers_certificate(desk: Desk) -> None:
    """And the pod that it was issued to, where that is known."""
    shown = replace(CALLER, pod=None, serial=0xAB, issued_to="uid-0")
    service = await desk.use("- {serial: 'ab'}")
    assert service.caller_fault(shown) == "denied: serial ab"
    assert service.caller_fault(replace(shown, serial=0xABC)) is None
    assert service.caller_fault(CALLER) is None
    service = await desk.use("- {pod_uid: uid-0}")
    assert service.caller_fault(shown) == "denied: pod_uid uid-0"
    assert service.caller_fault(replace(shown, issued_to="")) is None


async def test_key(desk: Desk) -> None:
    service = await desk.use(f"- {{key: 'sha256:{KEY.upper()}'}}")
    assert service.caller_fault(CALLER) is None
    assert service.order_fault(GRANT, CSR) == f"denied: key sha256:{KEY}"
    assert service.order_fault(GRANT, checked_csr("p256/another")) is None


async def test_until(desk: Desk) -> None:
    service = await desk.use(f"- {{identity: {URI}, until: 2025-06-01T13:00:00Z}}")
    assert service.caller_fault(CALLER)
    desk.clock.advance(HOUR)
    assert service.caller_fault(CALLER) is None


async def test_serial(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """It denies the key that it was issued for, to everybody, and no other; while the entry holds."""
    desk.service.issued(GRANT, CSR, 0xA1B)
    desk.service.issued(GRANT, checked_csr("p256/another"), 0xA1C)
    service = await desk.use('- {serial: "0A:1B", reason: stolen, until: 2025-06-01T13:00:00Z}')
    fault = f"denied: serial a1b (stolen), issued to {URI} for this key"
    assert service.order_fault(GRANT, CSR) == service.order_fault(Grant(OTHER, NODE), CSR) == fault
    assert service.order_fault(GRANT, checked_csr("p256/another")) is None
    assert service.caller_fault(CALLER) is None
    assert service.serial_fault(0xA1B) == "denied: serial a1b (stolen)"
    assert service.serial_fault(0xA1C) is None
    assert "not issued by this process" not in caplog.text
    desk.clock.advance(HOUR)
    assert service.order_fault(GRANT, CSR) is None


async def test_serial_that_is_not_known(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Told; and denied once it is known."""
    service = await desk.use('- {serial: "0a1b"}\n- {serial: "77"}')
    assert "2 denied serials were not issued by this process" in caplog.text
    assert service.order_fault(GRANT, CSR) is None
    service.issued(GRANT, CSR, 0xA1B)
    assert service.order_fault(GRANT, CSR) == f"denied: serial a1b, issued to {URI} for this key"


@pytest.mark.parametrize("text", [None, "", "- {identity: X}", "- {"], ids=repr)
async def test_no_start_without_a_list(tmp_path: Path, text: str | None) -> None:
    """The fault names the file."""
    desk = Desk(tmp_path / "deny.yaml")
    if text is not None:
        desk.path.write_text(text)
    with pytest.raises(DenyFileUnusable) as refusal:
        await desk.service.start()
    assert str(refusal.value).startswith(f"{desk.path}: ")


BAD = {"entry": "- {serial: x}", "nothing": "", "cut off": "[{", "gone": None}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
async def test_a_bad_list_changes_nothing(desk: Desk, text: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Told once for each contents; the old one stays, also for its file being back."""
    await desk.use(f"- {{identity: {URI}}}")
    for round_ in (1, 2):
        desk.path.unlink() if text is None else desk.path.write_text(text)
        for _ in range(3):
            await desk.service.look()
        assert (desk.service.refused, desk.service.caller_fault(CALLER) is None) == (True, False)
        assert caplog.text.count("the deny file is refused, the old list stays:") == round_
        await desk.use(f"- {{identity: {URI}}}")
        assert (desk.service.refused, desk.service.caller_fault(CALLER) is None) == (False, False)


async def test_a_bug_changes_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Told once, without its text."""

    def broken(_: bytes) -> DenyList:
        raise KeyError(secret)

    secret = "-".join(("hunter", "2"))

    desk.service._file._load = broken
    for _ in range(2):
        await desk.use(f"- {{identity: {URI}}}")
    assert desk.service.refused
    assert caplog.text.count("bug: KeyError") == 1
    assert secret not in caplog.text
    assert "in broken" in caplog.text


async def test_it_is_said_what_is_in_use(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "istio_signer.deny"):
        service = await desk.use(f"- {{identity: {URI}}}\n- {{pod_uid: a}}\n- {{pod_uid: b}}")
    assert "deny list in use: 1 identity, 2 pod_uid, 0 key, 0 serial" in caplog.text
    assert service.entries() == {"identity": 1, "pod_uid": 2, "key": 0, "serial": 0}


async def test_a_volume_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Told; no second thread is spent on it, and what it gives at last is taken."""
    held, calls = threading.Event(), list[bytes]()

    def load(data: bytes) -> DenyList:
        calls.append(data)
        if len(calls) == 2:
            held.wait()
        return parse_deny_list(data)

    desk = Desk(tmp_path / "deny.yaml", load)
    desk.path.write_text("[]")
    await desk.service.start()
    monkeypatch.setattr(deny, "_READ_SECONDS", 0.01)
    try:
        for _ in range(3):
            await desk.use(f"- {{identity: {URI}}}")
        assert caplog.text.count("reading it hangs") == 1
        assert desk.service.refused
    finally:
        held.set()
    monkeypatch.setattr(deny, "_READ_SECONDS", 10.0)
    await desk.service.look()
    assert desk.service.caller_fault(CALLER)
    assert len(calls) == 2


async def test_it_looks_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, take = asyncio.Event(), desk.service._take

    def told(look: Look) -> None:
        take(look)
        taken.set()

    monkeypatch.setattr(deny, "INTERVAL", 0.0)
    monkeypatch.setattr(desk.service, "_take", told)
    desk.path.write_text(f"- {{identity: {URI}}}")
    running = asyncio.create_task(desk.service.run())
    async with asyncio.timeout(10):
        await taken.wait()
    await give_up(running)
    assert desk.service.caller_fault(CALLER)
