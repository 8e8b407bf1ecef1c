"""What `check` makes of a backend that is not ours."""

import json
from pathlib import Path

import pytest

import backends
from backends.local.backend import LocalBackend, LocalSettings
from signer.cli.main import main
from signer.core.spec import BackendContext, BackendSpec, Finding

CONFIG = "backends: {local: {type: local, directory: /nowhere}}\n"


def _check(settings: LocalSettings, context: BackendContext) -> list[Finding]:
    raise KeyError("a secret")


def test_bug_in_a_backends_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finding like any other, without the exception's own text; the other findings come as well."""
    spec = BackendSpec("local", LocalSettings, LocalBackend, _check)
    monkeypatch.setattr(backends, "spec", lambda _: spec)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)

    assert main(["check", "--config", str(config), "-o", "json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    bug = {"level": "error", "where": "backends.local", "text": "bug in the backend's check: KeyError"}
    assert bug in findings
    assert any(finding["where"] == "serving" for finding in findings)
