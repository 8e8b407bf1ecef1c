"""The record in a file: read, locked, replaced whole; and a server's bundle that follows it."""

import asyncio
import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest

from signer.core.chain import TrustBundle, fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.trust_record import MAX_BYTES, KnownRoot, TrustRecord, decode, encode
from signer.observe.health import Health
from signer.trust.bundle import PART, LiveBundle
from signer.trust.rotation.store import INTERVAL, FileStore, StoreConflict, StoreUnusable, follow
from tests.support import virtual_time
from tests.support.clock import HOUR, NOW, FakeClock
from tests.support.fakes import FakeBackend
from tests.support.pki import make_ca

A, B = make_ca("root a").certificate, make_ca("root b").certificate
ONE = TrustRecord({fingerprint(A): KnownRoot(A, NOW + HOUR)}, Rotation("r1", "local", Phase.TRUSTING, (A,), NOW, B))
TWO = TrustRecord({fingerprint(B): KnownRoot(B, NOW + HOUR)})


def put(path: Path, data: bytes | None) -> None:
    """Have a file hold this; None for no file."""
    if data is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(data)


def held(path: Path) -> bytes:
    """What a file holds."""
    return path.read_bytes()


def beside(path: Path) -> set[str]:
    """The names of all files."""
    return {file.name for file in path.parent.iterdir()}


def stamp(path: Path) -> tuple[int, int]:
    """Which file it is, and when it was written."""
    return path.stat().st_ino, path.stat().st_mtime_ns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the record is to be."""
    return tmp_path / "record.json"


async def test_no_file(path: Path) -> None:
    """Nobody ever wrote one; reading makes none."""
    assert await FileStore(path).read() == TrustRecord()
    assert beside(path) == set()


async def test_what_is_written_is_read(path: Path) -> None:
    """By another process too; the change is given what is there."""
    await FileStore(path).update(lambda record: ONE if record == TrustRecord() else record)
    assert await FileStore(path).read() == ONE
    await FileStore(path).update(lambda record: TWO if record == ONE else record)
    assert await FileStore(path).read() == decode(held(path).decode()) == TWO


GARBAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"it cannot be read \(JSONDecodeError\)"),
    "half of one": (encode(ONE).encode()[:400], r"it cannot be read \(JSONDecodeError\)"),
    "no text": (b"\xff\xfe", "utf-8"),
    "no mapping": (b"[1]", r"it cannot be read \(TypeError\)"),
    "a later version": (b'{"version": 2}', "version 2; this program knows version 1"),
    "too long": (b" " * (MAX_BYTES + 2), f"longer than {MAX_BYTES} bytes"),
}


@pytest.mark.parametrize(("data", "why"), GARBAGE.values(), ids=GARBAGE)
async def test_garbage(path: Path, data: bytes, why: str) -> None:
    """The file is named, and neither taken for an empty record nor written over."""
    put(path, data)
    with pytest.raises(StoreUnusable, match=why) as told:
        await FileStore(path).read()
    assert str(told.value).startswith(f"{path}: ")
    with pytest.raises(StoreUnusable, match=why):
        await FileStore(path).update(lambda _: ONE)
    assert held(path) == data


async def test_no_file_at_all(tmp_path: Path) -> None:
    """A directory in its place; a directory that is not there."""
    with pytest.raises(StoreUnusable, match=f"^{tmp_path}: Is a directory$"):
        await FileStore(tmp_path).read()
    nowhere = tmp_path / "nowhere" / "record.json"
    with pytest.raises(StoreUnusable, match=f"^{nowhere}: cannot be written: No such file or directory$"):
        await FileStore(nowhere).update(lambda _: ONE)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As another process does."""
    with path.with_name("record.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def test_somebody_else_holds_the_lock(path: Path) -> None:
    """Nobody waits for it: whoever holds it may be asleep. Once it is free, all is well; reading takes no lock."""
    store = FileStore(path)
    await store.update(lambda _: ONE)
    with locked(path):
        with pytest.raises(StoreConflict):
            await store.update(lambda _: TWO)
        assert await store.read() == ONE
    await store.update(lambda _: TWO)
    assert await store.read() == TWO


async def test_a_change_that_is_refused_frees_the_lock(path: Path) -> None:
    """What it raises comes through."""

    def refuse(_: TrustRecord) -> TrustRecord:
        raise ValueError("not so")

    with pytest.raises(ValueError, match="not so"):
        await FileStore(path).update(refuse)
    await FileStore(path).update(lambda _: ONE)
    assert await FileStore(path).read() == ONE


def opened(path: Path) -> FileIO:
    """For somebody who is slow to read, and reads nothing ahead."""
    return path.open("rb", buffering=0)


async def test_the_file_is_replaced_whole(path: Path) -> None:
    """Who has it open reads the old one to its end; what a write that died has left is in nobody's way."""
    await FileStore(path).update(lambda _: ONE)
    put(path.with_name("record.json.partial"), b"half of a record that is longer than the next one" * 99)
    with opened(path) as reader:
        start = reader.read(10)
        await FileStore(path).update(lambda _: TWO)
        assert decode((start + reader.read()).decode()) == ONE
    assert await FileStore(path).read() == TWO
    assert beside(path) == {"record.json", "record.json.lock"}


async def test_nothing_new_is_not_written(path: Path) -> None:
    """It is the same file."""
    await FileStore(path).update(lambda _: ONE)
    before = stamp(path)
    await FileStore(path).update(lambda record: TrustRecord(dict(record.roots), record.rotation))
    assert stamp(path) == before


async def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old record stays, and the next try finds it."""
    await FileStore(path).update(lambda _: ONE)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnusable, match=f"^{path}: cannot be written: No space left on device$"):
            await FileStore(path).update(lambda _: TWO)
    assert await FileStore(path).read() == ONE
    await FileStore(path).update(lambda _: TWO)
    assert await FileStore(path).read() == TWO


class AtOnce(FileStore):
    """The same without a thread, so that time can pass at once; before each reading the file becomes what is next."""

    def __init__(self, path: Path, contents: list[bytes | None]) -> None:
        super().__init__(path)
        self.file = path
        self.contents: Iterator[bytes | None] = iter(contents)
        self.reads = 0

    async def read(self) -> TrustRecord:
        """See ``Store``."""
        self.reads += 1
        put(self.file, next(self.contents))
        return self._read()


def followed(path: Path, contents: list[bytes | None], look: Callable[[TrustBundle, bool], None]) -> None:
    """Follow a file through all its contents; look after each."""

    async def play() -> None:
        live = LiveBundle([FakeBackend("a")], Health((PART,)), FakeClock())
        store, known = AtOnce(path, contents), asyncio.Event()
        task = asyncio.create_task(follow(store, live, known))
        for number in range(1, len(contents) + 1):
            await asyncio.sleep(INTERVAL / 2 if number == 1 else INTERVAL)
            assert store.reads == number, "one reading an interval, whatever has happened"
            look(live.current(), known.is_set())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual_time.run(play)


def text(record: TrustRecord) -> bytes:
    """As it lies in the file."""
    return encode(record).encode()


def test_a_bundle_follows(path: Path) -> None:
    """A missing file is known too: there is nothing to know. Garbage is not, and takes nothing away."""
    seen: list[tuple[set[str], bool]] = []
    contents = [b"garbage", None, text(TWO), b"garbage", text(ONE)]
    followed(path, contents, lambda bundle, known: seen.append(({fingerprint(c) for c in bundle.roots}, known)))
    a, b = fingerprint(A), fingerprint(B)
    assert seen == [(set(), False), (set(), True), ({b}, True), ({b}, True), ({a, b}, True)]


def test_a_fault_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And again where it is another, or where it was well in between."""
    contents: list[bytes | None] = [b"x", b"x", b"\xff", b"\xff", b"x", text(ONE), text(ONE), b"x", b"x"]
    said: list[int] = []
    with caplog.at_level(logging.ERROR, "istio_signer.trust"):
        followed(path, contents, lambda *_: said.append(len(caplog.records)))
    assert said == [1, 1, 2, 2, 3, 3, 3, 4, 4]
    message = caplog.messages[0]
    assert message == f"{path}: it cannot be read (JSONDecodeError); what was read before stays"
