"""A file of roots: read, read again, refused."""

import asyncio
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from backends.remote import roots
from backends.remote.roots import MAX_BYTES, RootsFile, UnusableRoots, read_roots
from tests.corpus.answers import leaf, root
from tests.support.ca_files import bundle
from tests.support.pki import make_ca


def write(path: Path, *names: str) -> Path:
    """A file with the roots of these names."""
    path.write_bytes(bundle([make_ca(name) for name in names]))
    return path


async def test_it_is_read_again_and_tells_of_changes(tmp_path: Path) -> None:
    file = RootsFile(write(tmp_path / "roots", "one"), "vault")
    assert await file.refresh()
    assert not await file.refresh()
    write(tmp_path / "roots", "one", "two")
    assert await file.refresh()
    assert len(file.roots) == 2


async def test_a_bad_one_leaves_the_last_good_one_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = RootsFile(write(tmp_path / "roots", "one"), "vault")
    await file.refresh()
    (tmp_path / "roots").write_text("no PEM")
    for _ in range(3):
        assert not await file.refresh()
    assert len(file.roots) == 1
    assert caplog.text.count("holds no PEM certificate") == 1


async def test_readers_at_once_share_one_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = RootsFile(write(tmp_path / "roots", "one"), "vault")
    await asyncio.gather(*(file.refresh() for _ in range(5)))
    assert (len(file.roots), caplog.text) == (1, "")


@pytest.mark.parametrize("where", ["thread", "reading"])
async def test_whatever_goes_wrong_it_is_told_and_the_next_look_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """Whoever follows the file must go on."""
    file = RootsFile(write(tmp_path / "roots", "one"), "vault")

    def fail(_: object) -> None:
        raise RuntimeError("hunter2")

    with monkeypatch.context() as broken:
        broken.setattr(*{"thread": (threading.Thread, "start"), "reading": (roots, "read_roots")}[where], fail)
        assert not await file.refresh()
    assert "backend vault: roots_file" in caplog.text
    assert "hunter2" not in caplog.text
    assert await file.refresh()


async def test_none_at_all() -> None:
    assert not await RootsFile(None, "vault").refresh()


BAD = {
    "missing": (None, "cannot be read"),
    "empty": (b"", "holds no PEM"),
    "a leaf among them": (root().pem + leaf().public_bytes(Encoding.PEM), "no CA"),
    "too large": (b"x" * (MAX_BYTES + 1), "over"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    data, fault = BAD[case]
    if data is not None:
        (tmp_path / "roots").write_bytes(data)
    with pytest.raises(UnusableRoots, match=fault):
        read_roots(tmp_path / "roots")
