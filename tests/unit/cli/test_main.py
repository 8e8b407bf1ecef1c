"""How a verb ends where a path or a reader is not what it should be."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from signer.cli import main as program


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file or directory", "/proc/x"), "/proc/x: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("in words"), "in words"),
    ],
    ids=["path", "no-path", "words"],
)
def test_fault_of_a_path_is_one_line(
    error: OSError, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise error

    verb = SimpleNamespace(run=run, add_arguments=lambda _: None)
    monkeypatch.setattr(program, "import_module", lambda _: verb)

    assert program.main(["check"]) == 1
    assert capsys.readouterr().err == f"istio-signer check: {told}\n"


def test_reader_that_goes_away_is_no_complaint(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "signer.cli.main", "init", "--directory", str(tmp_path / "ca")]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")
