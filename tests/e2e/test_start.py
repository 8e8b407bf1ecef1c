"""A signer that cannot start says why, and what to do; development mode does not start by accident."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Done, istio_signer
from tests.e2e.conftest import Ca
from tests.e2e.process import SignerProcess
from tests.e2e.settings import write_settings

pytestmark = pytest.mark.timeout(60)

START_LIMIT = 30.0


def serve(folder: Path, ca: Path, kubeconfig: Path, **changes: Any) -> Done:
    """Run `serve` to its early end."""
    return istio_signer("serve", "--config", write_settings(folder, ca, kubeconfig, changes), timeout=START_LIMIT)


@pytest.fixture
def offline(tmp_path: Path) -> Path:
    """A kubeconfig of no server: nothing is asked before the first request."""
    path = tmp_path / "kubeconfig"
    path.write_text(
        """{apiVersion: v1, kind: Config, current-context: x,
        clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {token: none}}],
        contexts: [{name: x, context: {cluster: c, user: u}}]}"""
    )
    return path


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


def test_missing_kubeconfig(ca: Ca, tmp_path: Path) -> None:
    done = serve(tmp_path, ca.directory, tmp_path / "nowhere")

    assert done.code == 2
    assert "Traceback" not in done.err
    assert f"{tmp_path / 'nowhere'}" in done.err
    assert "kubeconfig" in done.err
    assert "clusters.0.kubeconfig" in done.err, "the key to change"


def test_broken_kubeconfig(ca: Ca, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("clusters: [")
    done = serve(tmp_path, ca.directory, broken)

    assert done.code == 2
    assert str(broken) in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("text", [None, "", "rubbish"], ids=["missing", "empty", "rubbish"])
def test_unusable_extra_roots(ca: Ca, offline: Path, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "extra.pem"
    if text is not None:
        path.write_text(text)
    done = serve(tmp_path, ca.directory, offline, trust={"roots": [{"file": str(path)}]})

    assert done.code == 1
    assert f"trust.roots: {path}: " in done.err
    assert "Traceback" not in done.err


def test_outside_a_cluster_and_without_a_kubeconfig(ca: Ca, tmp_path: Path) -> None:
    done = serve(tmp_path, ca.directory, tmp_path, clusters=[{"id": "Kubernetes"}])

    assert done.code == 2
    assert "this is no pod of a cluster" in done.err
    assert "kubeconfig" in done.err
    assert "serve --development" in done.err


@pytest.mark.parametrize("port", ["grpc", "http"])
def test_occupied_port(ca: Ca, offline: Path, taken: str, tmp_path: Path, port: str) -> None:
    done = serve(tmp_path, ca.directory, offline, listen={port: taken})

    assert done.code == 1
    assert taken.rpartition(":")[2] in done.err
    assert "Traceback" not in done.err, "this is no bug of ours"


def test_unwritable_audit(ca: Ca, offline: Path, tmp_path: Path) -> None:
    done = serve(tmp_path, ca.directory, offline, logging={"audit": str(tmp_path)})

    assert done.code == 1
    assert "logging.audit" in done.err


def test_no_ca_at_the_start_heals_when_it_comes(ca: Ca, offline: Path, tmp_path: Path) -> None:
    """A Secret that is mounted late: alive, not ready, and ready by itself once the files are there."""
    directory = tmp_path / "ca"
    directory.mkdir()
    config = write_settings(tmp_path, directory, offline, {})
    signer = SignerProcess(tmp_path, ["--config", config], ca.roots)
    try:
        signer.spawn()
        signer.wait_log("istio-signer init --directory")
        for name, text in ca.files.items():
            (directory / name).write_text(text)
        signer.wait_log("port ", count=2)
        assert signer.terminate() == 0
    finally:
        signer.kill()


def test_signal_while_waiting_for_a_ca(ca: Ca, offline: Path, tmp_path: Path) -> None:
    config = write_settings(tmp_path, tmp_path / "never", offline, {})
    signer = SignerProcess(tmp_path, ["--config", config], ca.roots)
    try:
        signer.spawn()
        signer.wait_log("admin endpoints")
        assert signer.terminate() == 0
    finally:
        signer.kill()


@pytest.mark.parametrize("text", [None, "- {identity: X}"], ids=["missing", "bad"])
def test_no_start_without_the_deny_list(ca: Ca, tmp_path: Path, offline: Path, text: str | None) -> None:
    """Nobody could tell who must be refused."""
    deny = tmp_path / "deny.yaml"
    if text is not None:
        deny.write_text(text)
    done = serve(tmp_path, ca.directory, offline, deny={"file": str(deny)})

    assert done.code == 2
    assert "Traceback" not in done.err
    assert f"deny.file: {deny}: " in done.err
