"""Lines never wait for a disk or a reader; what is lost is counted."""

import os
import threading
from pathlib import Path

import pytest

from signer.observe import lines
from signer.observe.lines import LineSink

_BIG = 1 << 20


def test_to_a_file(tmp_path: Path) -> None:
    """In order, all of them, appended, readable by the owner only."""
    path = tmp_path / "new" / "audit.log"
    for part in range(2):
        sink = LineSink(str(path))
        for number in range(1200):
            sink.write(f"{part} {number}")
        sink.close()
        assert sink.dropped == 0
    expected = [f"{part} {number}" for part in range(2) for number in range(1200)]
    assert path.read_text().splitlines() == expected
    assert path.stat().st_mode & 0o777 == 0o600


def test_any_text(tmp_path: Path) -> None:
    """Even what is no UTF-8."""
    sink = LineSink(str(tmp_path / "log"))
    sink.write("\u00e9 \ud800")
    sink.close()
    assert (tmp_path / "log").read_bytes() == b"\xc3\xa9 \\ud800\n"


@pytest.mark.parametrize(("target", "descriptor"), [("-", 1), ("stderr", 2)])
def test_standard_streams(target: str, descriptor: int, capfd: pytest.CaptureFixture[str]) -> None:
    """By their names."""
    sink = LineSink(target)
    sink.write("hello")
    sink.close()
    captured = capfd.readouterr()
    assert (captured.out, captured.err)[descriptor - 1] == "hello\n"


def test_written_while_open(tmp_path: Path) -> None:
    """Without being closed: a reader gets the line."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LineSink(str(fifo))
    os.set_blocking(reader, True)
    sink.write("hello")
    assert os.read(reader, 100) == b"hello\n"
    sink.close()
    os.close(reader)


def test_a_stuck_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue fills, further lines are dropped and counted, and nobody waits; then all that was kept comes."""
    monkeypatch.setattr(lines, "MAX_WAITING", 3)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LineSink(str(fifo))
    os.set_blocking(reader, True)
    sink.write("x" * _BIG)
    received = os.read(reader, 1)
    # The writer is now inside a write that is far larger than a pipe.
    for number in range(10):
        sink.write(str(number))
    assert sink.dropped == 7
    closing = threading.Thread(target=sink.close, args=(30.0,))
    closing.start()
    while len(received) < _BIG + 7:
        received += os.read(reader, 65536)
    closing.join()
    os.close(reader)
    assert received.endswith(b"x\n0\n1\n2\n")


def test_close_gives_up(tmp_path: Path) -> None:
    """A reader that is stuck for good does not keep the process."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LineSink(str(fifo))
    os.set_blocking(reader, True)
    sink.write("x" * _BIG)
    os.read(reader, 1)
    sink.close(0.01)
    os.close(reader)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk() -> None:
    """Lines that could not be written are counted as lost."""
    sink = LineSink("/dev/full")
    for _ in range(5):
        sink.write("lost")
    sink.close()
    assert sink.dropped == 5


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """Said at start."""
    with pytest.raises(OSError, match=str(tmp_path)):
        LineSink(str(tmp_path))


def test_after_a_torn_line_the_next_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills and empties again costs the line that was torn, and no other."""
    sink = LineSink(str(tmp_path / "log"))
    real, full = os.write, [False]

    def write(descriptor: int, data: bytes) -> int:
        if full[0]:
            raise OSError(28, "No space left on device")
        if b"torn" in data:
            full[0] = True
            return real(descriptor, data[:3])
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    sink.write("torn line")
    while not sink.dropped:
        threading.Event().wait(0.01)
    full[0] = False
    sink.write("good line")
    sink.close()
    assert (tmp_path / "log").read_bytes() == b"tor\ngood line\n"
    assert sink.dropped == 1


def test_a_pipe_that_does_not_block_is_waited_for(tmp_path: Path) -> None:
    """Full is not broken: nothing is lost while somebody reads."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LineSink(str(fifo))
    os.set_blocking(sink._descriptor, False)
    os.set_blocking(reader, True)
    wanted = [f"{number} {'x' * 200}" for number in range(3000)]
    for line in wanted:
        sink.write(line)
    got = b""
    while got.count(b"\n") < len(wanted):
        got += os.read(reader, 1 << 16)
    sink.close()
    os.close(reader)
    assert got.decode().splitlines() == wanted
    assert sink.dropped == 0


def test_the_queue_is_bounded_by_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long lines of strangers must not become a gigabyte."""
    monkeypatch.setattr(lines, "MAX_CHARACTERS", 100)
    monkeypatch.setattr(LineSink, "_work", lambda _: None)
    sink = LineSink(str(tmp_path / "log"))
    for _ in range(5):
        sink.write("x" * 40)
    assert sink.dropped == 3
