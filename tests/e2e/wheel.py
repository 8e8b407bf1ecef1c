"""The wheel, built from this tree and installed alone into an empty environment."""

import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.command import ROOT, environment

BUILD_LIMIT = 120.0
INSTALL_LIMIT = 300.0
INDEX = "https://pypi.org/simple/grpcio/"


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that has the wheel and what it depends on, and nothing else."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def program(self) -> tuple[str, ...]:
        """Its command."""
        return (str(self.folder / "bin" / "istio-signer"),)


def build_wheel(folder: Path) -> Path:
    """Build the wheel with the hatchling of this environment; nothing is fetched."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_LIMIT)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Installed:
    """Make an environment and install the wheel as a user would. Skips, loudly, where the index cannot be reached."""
    made = Installed(folder)
    _run([sys.executable, "-m", "venv", str(folder)], BUILD_LIMIT)
    done = _run([str(made.python), "-m", "pip", "install", "--no-input", str(wheel)], INSTALL_LIMIT)
    if done.returncode != 0 and not _index_answers():
        pytest.skip(
            f"NOT TESTED: the wheel alone in an empty environment. Needs the package index: {done.stderr[-300:]}"
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return made


def _run(command: list[str], limit: float) -> subprocess.CompletedProcess[str]:
    """Outside of the repository, and without its import path."""
    clean = environment()
    clean.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd="/", env=clean, capture_output=True, text=True, timeout=limit)


def _index_answers() -> bool:
    try:
        with urllib.request.urlopen(INDEX, timeout=10) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
