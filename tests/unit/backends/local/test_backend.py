"""The local backend: its files change under it, and it always signs with the last good ones."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from backends.local.backend import LocalBackend, LocalSettings
from backends.local.spec import check
from signer.core.chain import TrustBundle
from signer.core.errors import BackendUnavailable
from signer.core.types import IssuedChain
from signer.core.verify import ChainVerifier
from tests.corpus.answers import asked, intermediate, root
from tests.support.ca_files import bundle, cacerts, encrypted, mount, tls_secret, write
from tests.support.clock import DAY, NOW, FakeClock
from tests.support.fakes import context
from tests.support.pki import CA_WINDOW, Ca, key_pem, make_ca


@dataclass
class Desk:
    """A backend on a mounted directory."""

    directory: Path
    clock: FakeClock = field(default_factory=FakeClock)
    changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backend = LocalBackend(LocalSettings(self.directory), context(self.clock, "ca"))
        self.backend.on_change(lambda: self.changes.append("changed"))

    async def mount(self, files: dict[str, bytes]) -> None:
        """Swap the mount, then have the backend look."""
        mount(self.directory, files)
        await self.backend.reload()

    async def sign(self) -> IssuedChain:
        """Sign, and verify what comes back by the bundle that the backend names."""
        issued, info = await self.backend.sign(asked()), await self.backend.issuer()
        ChainVerifier().verify(issued, asked(), TrustBundle.of(info.roots), self.clock.now())
        return issued

    async def signer(self) -> x509.Name:
        """Who signs."""
        return (await self.sign()).leaf.issuer


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty directory."""
    return Desk(tmp_path / "ca")


def _next(title: str = "next") -> Ca:
    return make_ca(title, root())


async def test_start_and_sign(desk: Desk) -> None:
    """Reads its files at start; what it signs is verified."""
    mount(desk.directory, cacerts(intermediate(), [], [root()]))
    await desk.backend.start()
    issued = await desk.sign()
    assert issued.issuers == (intermediate().certificate,)
    info = await desk.backend.issuer()
    assert (info.roots, info.chain, info.window) == ((root().certificate,), (intermediate().certificate,), CA_WINDOW)
    await desk.backend.probe()


@pytest.mark.parametrize("ask", ["sign", "issuer", "probe"])
async def test_without_files(desk: Desk, ask: str) -> None:
    """Unavailable, with the reason; starting does not raise."""
    calls: dict[str, Callable[[], object]] = {
        "sign": lambda: desk.backend.sign(asked()),
        "issuer": desk.backend.issuer,
        "probe": desk.backend.probe,
    }
    with pytest.raises(BackendUnavailable, match="has not been read yet"):
        await calls[ask]()  # type: ignore[misc]
    await desk.backend.start()
    with pytest.raises(BackendUnavailable, match=r"neither ca-key\.pem nor tls.key is there"):
        await calls[ask]()  # type: ignore[misc]


async def test_swap(desk: Desk) -> None:
    """A new set is in use as soon as it has been looked at, and whoever wants to know is told."""
    await desk.mount(cacerts(intermediate(), [], [root()]))
    before = await desk.signer()
    await desk.mount(cacerts(_next(), [], [root()]))
    assert (await desk.signer(), before) == (_next().certificate.subject, intermediate().certificate.subject)
    assert desk.changes == ["changed", "changed"]


async def test_swap_of_the_convention(desk: Desk) -> None:
    """From a plain directory of one kind to one of the other kind."""
    write(desk.directory, tls_secret(intermediate(), [], [root()]))
    await desk.backend.reload()
    for path in desk.directory.iterdir():
        path.unlink()
    write(desk.directory, cacerts(_next(), [], [root()]))
    await desk.backend.reload()
    assert await desk.signer() == _next().certificate.subject


async def test_the_same_contents(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Another mount of the same bytes is no change: nobody is told."""
    caplog.set_level(logging.INFO)
    for _ in range(3):
        await desk.mount(cacerts(intermediate(), [], [root()]))
    assert desk.changes == ["changed"]
    assert len(caplog.records) == 1


async def test_roots_only(desk: Desk) -> None:
    """A new root beside the old one counts as well."""
    await desk.mount(cacerts(intermediate(), [], [root()]))
    await desk.mount(cacerts(intermediate(), [], [root(), make_ca("other")]))
    assert len((await desk.backend.issuer()).roots) == 2


_BAD = {
    "mismatch": {**cacerts(_next(), [], [root()]), "ca-key.pem": key_pem(root().key)},
    "half written": {**cacerts(_next(), [], [root()]), "ca-cert.pem": _next().pem[:300]},
    "expired": cacerts(make_ca("ended", root(), window=(CA_WINDOW[0], NOW)), [], [root()]),
    "unreadable": {"readme": b"nothing here"},
}


@pytest.mark.parametrize("files", _BAD.values(), ids=_BAD.keys())
async def test_a_bad_set_is_refused(desk: Desk, files: dict[str, bytes], caplog: pytest.LogCaptureFixture) -> None:
    """The old one stays in use, and the reason is said once, however often the files are looked at."""
    caplog.set_level(logging.INFO)
    await desk.mount(cacerts(intermediate(), [], [root()]))
    caplog.clear()
    for _ in range(3):
        await desk.mount(files)
    assert await desk.signer() == intermediate().certificate.subject
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "new CA files refused, the CA in use stays: " in record.getMessage()
    assert desk.changes == ["changed"]


async def test_a_refused_set_shows(desk: Desk) -> None:
    """It still signs, but somebody should look."""
    await desk.mount(cacerts(intermediate(), [], [root()]))
    await desk.mount(_BAD["mismatch"])
    with pytest.raises(BackendUnavailable, match=r"an older CA signs, since the files are refused: ca-key\.pem"):
        await desk.backend.probe()
    await desk.mount(cacerts(intermediate(), [], [root()]))
    await desk.backend.probe()


async def test_refused_for_another_reason(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Each new reason is said."""
    await desk.mount(_BAD["mismatch"])
    await desk.mount(_BAD["expired"])
    assert ["nothing can be signed until it is mended" in r.getMessage() for r in caplog.records] == [True, True]


async def test_good_again(desk: Desk) -> None:
    """A mended set is taken."""
    await desk.mount(cacerts(intermediate(), [], [root()]))
    await desk.mount(_BAD["mismatch"])
    await desk.mount(cacerts(_next(), [], [root()]))
    assert await desk.signer() == _next().certificate.subject


async def test_valid_a_second_later(desk: Desk) -> None:
    """A CA that starts in a moment is judged again, though its files do not change."""
    young = make_ca("young", root(), window=(NOW + DAY, CA_WINDOW[1]))
    await desk.mount(cacerts(young, [], [root()]))
    with pytest.raises(BackendUnavailable, match="valid only from"):
        await desk.sign()
    desk.clock.advance(DAY)
    await desk.backend.reload()
    await desk.backend.probe()


async def test_an_ended_ca(desk: Desk) -> None:
    """Shows in the probe."""
    await desk.mount(cacerts(intermediate(), [], [root()]))
    desk.clock.set(CA_WINDOW[1])
    with pytest.raises(BackendUnavailable, match="ended at"):
        await desk.backend.probe()


async def test_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at its files at intervals, for ever, whatever it finds."""
    sets = [cacerts(intermediate(), [], [root()]), _BAD["mismatch"], cacerts(_next(), [], [root()])]

    async def next_interval(seconds: float) -> None:
        assert seconds == 1.0
        if not sets:
            raise EndOfTest
        mount(desk.directory, sets.pop(0))

    monkeypatch.setattr(asyncio, "sleep", next_interval)
    with pytest.raises(EndOfTest):
        await desk.backend.run()
    assert await desk.signer() == _next().certificate.subject


class EndOfTest(Exception):
    """Ends an endless loop."""


async def test_close(desk: Desk) -> None:
    """The key is dropped."""
    await desk.mount(cacerts(intermediate(), [], [root()]))
    await desk.backend.close()
    with pytest.raises(BackendUnavailable, match=r".+"):
        await desk.backend.sign(asked())


async def test_encrypted_key(tmp_path: Path) -> None:
    """By the password in another file."""
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    files = {**cacerts(intermediate(), [], [root()]), "ca-key.pem": encrypted(intermediate().key, b"open sesame")}
    settings = LocalSettings(write(tmp_path / "ca", files), password)
    backend = LocalBackend(settings, context())
    await backend.start()
    assert (await backend.sign(asked())).leaf.issuer == intermediate().certificate.subject


CHECKS: dict[str, tuple[dict[str, bytes], list[str], str]] = {
    "fine": (cacerts(intermediate(), [], [root()]), ["ok"], "P-256 CA CN=intermediate"),
    "unusable": (_BAD["mismatch"], ["error"], "is not the key of"),
    "slow key": (
        cacerts(make_ca("slow", root(), kind="rsa4096"), [], [root()]),
        ["ok", "warning"],
        "use mode: intermediate",
    ),
    "ends soon": (
        cacerts(make_ca("soon", root(), window=(CA_WINDOW[0], NOW + 29 * DAY)), [], [root()]),
        ["ok", "warning"],
        "renew it",
    ),
    "a root left out": (
        {**cacerts(intermediate(), [], []), "root-cert.pem": bundle([root(), make_ca("weak", kind="p521")])},
        ["ok", "warning"],
        "left out 'CN=weak'",
    ),
}


@pytest.mark.parametrize(("files", "levels", "text"), CHECKS.values(), ids=CHECKS.keys())
def test_check(files: dict[str, bytes], levels: list[str], text: str, tmp_path: Path) -> None:
    """Says what serving would say, and what is unwise."""
    findings = check(LocalSettings(write(tmp_path, files)), context(name="ca"))
    assert [finding.level for finding in findings] == levels
    assert text in findings[-1].text
    assert {finding.where for finding in findings} == {"backends.ca.directory"}
