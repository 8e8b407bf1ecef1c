"""Backends that are killed, sealed, stopped and forbidden under load: another signs, or the refusal is right and in
time; afterwards everything heals by itself and nothing is left behind."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Kube
from tests.cluster.controllers import CertManager
from tests.cluster.fixtures import NewCluster
from tests.cluster.poll import until
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, account_kubeconfig, grant
from tests.e2e.conftest import Ca, NewWorkload, StartSigner
from tests.e2e.process import SignerProcess
from tests.e2e.settings import Only
from tests.e2e.workload import Workload
from tests.goclient.run import LoadResult
from tests.kube_backends.scene import REQUESTS, left, make_issuer
from tests.vault.mounts import policy_token, root_mount
from tests.vault.openbao import OpenBao

pytestmark = pytest.mark.timeout(240)

PATH = "pki/sign/istio-ca"
# The server's own deadline, and what a busy machine needs to say so.
DEADLINE = 8.0 + 2.0


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[OpenBao]:
    """An OpenBao with a right role."""
    with OpenBao(tmp_path / "openbao") as server:
        root_mount(server)
        policy_token(server, tmp_path, PATH)
        yield server


def vault_backend(server: OpenBao, folder: Path) -> dict[str, Any]:
    """Its section."""
    auth = {"method": "token", "token_file": str(folder / "token")}
    return {"type": "vault", "address": server.address, "sign_path": PATH, "auth": auth, "timeout": "2s"}


class Load:
    """CSRs sent in the background, each a new one; a context manager that ends with their result."""

    def __init__(self, workload: Workload, signer: SignerProcess, calls: int) -> None:
        flags = ("-concurrency", "8", "-csrs", str(calls), "-timeout", "20s")
        self._send: Callable[[], LoadResult] = lambda: workload.flood(signer, calls, *flags)
        self._result: LoadResult | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(180)

    @property
    def result(self) -> LoadResult:
        """What became of it."""
        assert self._result is not None, "the load did not end"
        return self._result

    def _run(self) -> None:
        self._result = self._send()


def signed_by(workload: Workload, signer: SignerProcess, backend: str) -> bool:
    """Ask for one certificate, and tell whether that backend has signed it."""
    serial = f"{workload.obtain(signer).serial:x}"
    return bool(signer.decision(serial=serial)["backend"] == backend)


@pytest.mark.parametrize("outage", ["killed", "sealed", "frozen"])
def test_the_next_backend_signs_and_the_first_one_comes_back(
    outage: str, vault: OpenBao, ca: Ca, start_signer: StartSigner, new_workload: NewWorkload, tmp_path: Path
) -> None:
    backends = {
        "vault": {**vault_backend(vault, tmp_path), "guard": {"breaker_open": "2s"}},
        "local": {"type": "local", "directory": str(ca.directory)},
    }
    signer = start_signer(backends=backends, routes=[{"backends": ["vault", "local"]}], serving={"backend": "local"})
    workload = new_workload()
    assert signed_by(workload, signer, "vault")
    with Load(workload, signer, 3000) as load:
        time.sleep(0.3)
        {"killed": vault.kill, "sealed": vault.seal, "frozen": vault.pause}[outage]()
        until(lambda: signed_by(workload, signer, "local"), deadline=20, what="the next backend to sign")
        assert signer.admin("/readyz").status == 200, "a failing backend must not take the replica out of service"
        until(lambda: "[!] backend vault" in signer.admin("/readyz?verbose").body, deadline=20, what="it to be told")
    assert load.result["errors"] == {}, load.result["first_error"]
    {"killed": vault.start, "sealed": vault.unseal, "frozen": vault.resume}[outage]()
    until(lambda: signed_by(workload, signer, "vault"), deadline=30, what="the first backend to sign again")


@pytest.mark.parametrize(
    ("outage", "codes"), [("killed", {"Unavailable"}), ("frozen", {"Unavailable", "DeadlineExceeded"})]
)
def test_alone_it_is_told_with_the_right_code_in_time_and_heals(
    outage: str, codes: set[str], vault: OpenBao, start_signer: StartSigner, new_workload: NewWorkload, tmp_path: Path
) -> None:
    root = tmp_path / "root.pem"
    root.write_text(vault.call("GET", "pki/cert/ca")["data"]["certificate"])
    signer = start_signer(roots=root, backends=Only(vault=vault_backend(vault, tmp_path)))
    workload = new_workload()
    workload.obtain(signer)
    {"killed": vault.kill, "frozen": vault.pause}[outage]()
    result = workload.flood(signer, 24, "-concurrency", "8", "-timeout", "20s", "-warmup", "-1")
    assert set(result["errors"]) <= codes, result
    assert result["ok"] == 0
    assert result["max_ms"] < DEADLINE * 1000
    {"killed": vault.start, "frozen": vault.resume}[outage]()

    def heals() -> bool:
        return workload.ask(signer)["code"] == "OK"

    until(heals, deadline=40, what="it to heal without a restart")


def test_cert_manager_stopped_and_forbidden_under_load_heals_and_leaves_nothing(
    new_cluster: NewCluster, start_signer: StartSigner, tmp_path: Path
) -> None:
    running = new_cluster()
    with Kube.load(running.kubeconfig) as kube, CertManager(tmp_path / "cm", running.kubeconfig) as controllers:
        kube.create_namespace("mesh")
        kube.create_namespace("apps")
        issuer = make_issuer(kube, "mesh")
        rights = (CREATE_TOKEN_REVIEWS, REQUESTS)
        access = account_kubeconfig(kube, tmp_path / "kubeconfig", "mesh", "signer", rights)
        root = tmp_path / "root.pem"
        root.write_text("".join(issuer.chain()))
        section = {"type": "cert-manager", "issuer": {"name": "mesh"}, "namespace": "mesh", "timeout": "3s"}
        signer = start_signer(kubeconfig=access, roots=root, backends=Only(cm=section))
        workload = Workload.create(kube, "apps", "app", tmp_path)
        with Load(workload, signer, 600) as load:
            time.sleep(1.0)
            controllers.pause()
            time.sleep(4.0)
            controllers.resume()
        assert set(load.result["errors"]) <= {"DeadlineExceeded", "Unavailable"}, load.result
        assert load.result["max_ms"] < DEADLINE * 1000
        until(lambda: workload.ask(signer)["code"] == "OK", deadline=40, what="it to heal")

        grant(kube, "mesh", "signer", (CREATE_TOKEN_REVIEWS, {**REQUESTS, "verbs": ["list", "watch"]}))
        until(lambda: workload.ask(signer)["code"] == "Unavailable", deadline=15, what="the right to be gone")
        grant(kube, "mesh", "signer", rights)
        until(lambda: workload.ask(signer)["code"] == "OK", deadline=40, what="it to heal again")
        until(lambda: left(kube, "mesh") == [], deadline=100, what="every request to be deleted")
