"""Lines to a stream or file without ever making a request wait for the disk or for whoever reads the pipe."""

import os
import select
import threading
from collections import deque
from pathlib import Path

MAX_WAITING = 20_000
MAX_CHARACTERS = 16 * 1024 * 1024
_GATHER_SECONDS = 0.05
_STDOUT, _STDERR = 1, 2


class LineSink:
    """A bounded queue of lines and one thread that writes them in batches.

    A full queue drops the new line and counts it in ``dropped``: a stuck reader must not stop the mesh, and an
    operator must see that lines are missing.

    Args:
        target: ``-`` for standard output, ``stderr``, or a file path (appended to, mode 0600).
    """

    def __init__(self, target: str) -> None:
        self.dropped = 0
        self._waiting: deque[str] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._closing = False
        self._size = 0
        self._torn = False
        self._descriptor = _open(target)
        self._thread = threading.Thread(target=self._work, name=f"lines-{target}", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line, given without its newline. Never blocks, never raises."""
        if len(self._waiting) >= MAX_WAITING or self._size + len(line) > MAX_CHARACTERS:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._size += len(line)
        # Setting an event that is set costs a lock each time; under load the thread is awake anyway.
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout: float = 2.0) -> None:
        """Write what is waiting and stop; gives up after ``timeout`` seconds."""
        self._closing = True
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait()
            # Lines gather for a moment: a thread that woke for each would fight the event loop for the interpreter.
            self._stop.wait(_GATHER_SECONDS)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            lines = [self._waiting.popleft() for _ in range(min(len(self._waiting), 500))]
            # Approximate where both threads touch it at once; set right whenever the queue is empty.
            self._size = max(0, self._size - sum(map(len, lines))) if self._waiting else 0
            # After a torn line the next one starts afresh, so that only the torn one is lost.
            data = ("\n" if self._torn else "") + "\n".join(lines) + "\n"
            self._write_all(data.encode("utf-8", "backslashreplace"))

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
                self._torn = bool(data)
            except BlockingIOError:
                # Somebody made the pipe non-blocking: full is not broken, but at the end nobody waits for a reader.
                select.select([], [self._descriptor], [], 1.0)
                if self._closing:
                    break
            except OSError:
                # A full disk or a closed pipe: said by the counter, since there is nowhere left to write it.
                break
        self.dropped += data.count(b"\n")


def _open(target: str) -> int:
    if target == "-":
        return _STDOUT
    if target == "stderr":
        return _STDERR
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    return os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
