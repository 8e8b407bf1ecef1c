"""The deny list's file: every way in which it changes is seen, and nothing is judged twice."""

import os
from pathlib import Path

import pytest

from signer.authz import deny_file
from signer.authz.deny_file import DenyFile, DenyFileUnusable, Look
from signer.core.deny import BadDenyList, DenyList
from tests.server import cas

LISTS = {b"one": DenyList.parse([{"serial": "1"}]), b"two": DenyList.parse([{"serial": "2"}])}


class Reader:
    """A file, and what was read of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded: list[bytes] = []
        self.file = DenyFile(path, self._load)

    def _load(self, data: bytes) -> DenyList:
        self.loaded.append(data)
        if data not in LISTS:
            raise BadDenyList("entry no. 1: bad\nentry no. 2: worse")
        return LISTS[data]

    def sees(self) -> DenyList:
        """The list of now."""
        return self.file.look().usable()


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Of a good file."""
    path = tmp_path / "deny.yaml"
    path.write_bytes(b"one")
    return Reader(path)


def test_unchanged(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read twice, judged once; then only looked at."""
    assert reader.sees() is reader.sees() is LISTS[b"one"]
    monkeypatch.setattr(DenyFile, "_contents", lambda _: pytest.fail("it is read again"))
    assert reader.sees() is LISTS[b"one"]
    assert reader.loaded == [b"one"]


def test_written_over(reader: Reader) -> None:
    reader.sees()
    reader.path.write_bytes(b"two")
    assert reader.sees() is LISTS[b"two"]


def test_written_within_one_tick(reader: Reader) -> None:
    """Same size, same times: the look after the first one still reads."""
    before = reader.path.stat()
    reader.sees()
    with reader.path.open("r+b") as file:
        file.write(b"two")
    os.utime(reader.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    reader.file._signs = reader.file._look_at(reader.path)
    assert reader.sees() is LISTS[b"two"]


def test_times_set_back(reader: Reader) -> None:
    """As a careful copy does: size and mtime are the old ones."""
    before = reader.path.stat()
    for _ in range(3):
        reader.sees()
    reader.path.write_bytes(b"two")
    os.utime(reader.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reader.sees() is LISTS[b"two"]


def test_renamed_over(reader: Reader) -> None:
    for _ in range(3):
        reader.sees()
    cas.put(reader.path.parent, {reader.path.name: b"two"})
    assert reader.sees() is LISTS[b"two"]


def test_mounted(tmp_path: Path) -> None:
    """The kubelet swaps the link above the file's own."""
    place = cas.mount(tmp_path / "mount", {"deny.yaml": b"one"})
    reader = Reader(place / "deny.yaml")
    for _ in range(3):
        assert reader.sees() is LISTS[b"one"]
    cas.mount(place, {"deny.yaml": b"two"})
    assert (place / "deny.yaml").readlink() == Path("..data/deny.yaml")
    assert reader.sees() is LISTS[b"two"]


def test_same_contents_elsewhere(reader: Reader) -> None:
    """Another file, the same list: nothing to judge."""
    seen = reader.sees()
    cas.put(reader.path.parent, {reader.path.name: b"one"})
    assert reader.sees() is seen
    assert reader.loaded == [b"one"]


def test_bad_contents(reader: Reader) -> None:
    """Each line names the file; judged once."""
    reader.path.write_bytes(b"bad")
    looks = [reader.file.look() for _ in range(3)]
    assert looks[0].fault == f"{reader.path}: entry no. 1: bad\n{reader.path}: entry no. 2: worse"
    assert looks[0] == looks[1] == looks[2]
    assert reader.loaded == [b"bad"]
    with pytest.raises(DenyFileUnusable, match=r"entry no\. 1: bad"):
        reader.sees()


def _gone(path: Path) -> None:
    path.unlink()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _large(path: Path) -> None:
    os.truncate(path, deny_file.MAX_FILE_BYTES + 1)


FAULTS = {
    "gone": (_gone, "cannot be read: No such file or directory"),
    "pipe": (_pipe, "is no file"),
    "directory": (_directory, "is no file"),
    "loop": (_loop, "cannot be read: "),
    "large": (_large, "is larger than 16 MiB"),
}


@pytest.mark.parametrize(("spoil", "told"), FAULTS.values(), ids=FAULTS)
def test_no_file(reader: Reader, spoil: object, told: str) -> None:
    """Told, and forgotten once the file is back."""
    reader.sees()
    spoil(reader.path)  # type: ignore[operator]
    look = reader.file.look()
    assert look.fault.startswith(f"{reader.path}: {told}")
    assert look == reader.file.look()
    reader.path.rmdir() if reader.path.is_dir() else reader.path.unlink(missing_ok=True)
    reader.path.write_bytes(b"one")
    assert reader.sees() is LISTS[b"one"]
    assert reader.loaded == [b"one"]


@pytest.mark.parametrize("size", [deny_file.MAX_FILE_BYTES, deny_file.MAX_FILE_BYTES + 1])
def test_grown_since_it_was_looked_at(reader: Reader, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Never more is read than allowed."""
    monkeypatch.setattr(DenyFile, "_look_at", lambda *_: (1,))
    os.truncate(reader.path, size)
    assert reader.file.look().fault.endswith("is larger than 16 MiB" if size > 2**24 else "worse")


def test_become_a_pipe_since_it_was_looked_at(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for its other end."""
    monkeypatch.setattr(DenyFile, "_look_at", lambda *_: (1,))
    _pipe(reader.path)
    assert isinstance(reader.file.look(), Look)
    assert reader.loaded == [b""]
