"""What `check` makes of a backend that is not ours."""

import json
from pathlib import Path

import pytest

import backends
from backends.local.backend import LocalBackend, LocalSettings
from signer.cli.main import main
from signer.core.spec import BackendContext, BackendSpec, Finding

CONFIG = "backends: {local: {type: local, directory: /nowhere}}\n"


CLUSTER = "clusters.0"


def _found(config: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, str]:
    """What is said of the only cluster."""
    main(["check", "--config", str(config), "-o", "json", *options])
    (finding,) = (found for found in json.loads(capsys.readouterr().out) if found["where"] == CLUSTER)
    return {key: str(value) for key, value in finding.items()}


def test_a_file_is_judged_before_its_pod_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody is to be asked it is no fault of the file that this machine is no pod."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    offline, live = _found(config, capsys), _found(config, capsys, "--live")
    assert (offline["level"], "not in a pod: run this there, or name a kubeconfig" in offline["text"]) == (
        "warning",
        True,
    )
    assert (live["level"], "this is no pod of a cluster" in live["text"]) == ("error", True)
    assert "--development" not in live["text"], "advice for whoever serves, not for a deployment"


def test_a_pod_without_its_token_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    found = _found(config, capsys)
    assert (found["level"], "automountServiceAccountToken" in found["text"]) == ("error", True)


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


DENY_FILES = {
    "good": ("- {serial: '1'}\n", "ok", "1 entries"),
    "ended": ("- {serial: '1', until: 2020-01-01T00:00:00Z}\n", "warning", "1 of the entries have ended"),
    "bad": ("- {serial: x}\n", "error", "entry no. 1: serial: write a certificate's serial"),
    "missing": (None, "error", "cannot be read: No such file or directory"),
}


@pytest.mark.parametrize(("text", "level", "told"), DENY_FILES.values(), ids=DENY_FILES)
def test_deny_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, level: str, told: str) -> None:
    """Judged as at the start of the server."""
    config, deny = tmp_path / "config.yaml", tmp_path / "deny.yaml"
    config.write_text(f"{CONFIG}deny: {{file: {deny}}}\n")
    if text is not None:
        deny.write_text(text)

    main(["check", "--config", str(config), "-o", "json"])
    found = [finding for finding in json.loads(capsys.readouterr().out) if finding["where"] == "deny.file"]
    assert [finding["level"] for finding in found if told in finding["text"]] == [level]
