"""SIGTERM: requests in flight are answered, clients go elsewhere, and the process is gone in time."""

import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.cluster.fixtures import NewCluster
from tests.cluster.poll import until
from tests.cluster.rbac import account_kubeconfig
from tests.e2e.balancer import Balancer
from tests.e2e.conftest import NewWorkload, StartSigner
from tests.e2e.process import SignerProcess
from tests.e2e.stream import BATCH, Stream
from tests.e2e.workload import Workload
from tests.goclient.run import LoadResult, load

pytestmark = pytest.mark.timeout(180)


def test_idle_signer_ends_with_code_0(start_signer: StartSigner) -> None:
    """And at once: nobody is there to wait for."""
    signer = start_signer(shutdown={"grace": "15s"})
    start = time.monotonic()
    assert signer.terminate() == 0
    assert time.monotonic() - start < 10
    assert "Traceback" not in signer.log()


def test_signer_is_unready_before_it_refuses(start_signer: StartSigner, new_workload: NewWorkload) -> None:
    """Between the two, load balancers notice; whoever still comes is served."""
    signer, workload = start_signer(shutdown={"delay": "3s"}), new_workload()
    signer.signal(signal.SIGTERM)
    until(lambda: signer.admin("/readyz").status == 503, deadline=2.5, what="readiness to end")
    assert signer.admin("/readyz").body == "pending: draining\n"
    assert signer.admin("/livez").status == 200
    assert workload.ask(signer)["code"] == "OK"
    assert signer.wait() == 0


def test_second_signal_ends_at_once(start_signer: StartSigner) -> None:
    signer = start_signer(shutdown={"delay": "15s"})
    signer.signal(signal.SIGTERM)
    signer.wait_log("once more ends at once")
    signer.signal(signal.SIGTERM)
    assert signer.wait(5) == -signal.SIGTERM


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_requests_in_flight_are_answered(
    new_cluster: NewCluster, start_signer: StartSigner, tmp_path: Path, end: signal.Signals
) -> None:
    """Their tokens are with a frozen API server when the signal comes; they are judged after it."""
    cluster = new_cluster()
    with Kube.load(cluster.kubeconfig) as kube, ThreadPoolExecutor() as threads:
        access = account_kubeconfig(kube, tmp_path / "kubeconfig", "signer-system", "istio-signer")
        kube.create_namespace("shop")
        workloads = [Workload.create(kube, "shop", f"app{i}", tmp_path) for i in range(4)]
        signer = start_signer(kubeconfig=access)
        cluster.pause()
        try:
            answers = [threads.submit(workload.ask, signer) for workload in workloads]
            until(lambda: in_flight(signer) == 4.0, deadline=4, what="all requests to be in flight")
            signer.signal(end)
            signer.wait_log(f"received {end.name}")
            until(lambda: not listens(signer), deadline=4, what="the port to be closed")
        finally:
            cluster.resume()
        results = [answer.result() for answer in answers]

    assert [(result["code"], result["attempts"]) for result in results] == [("OK", 1)] * 4
    assert signer.wait() == 0


def listens(signer: SignerProcess) -> bool:
    """Whether new connections are taken."""
    host, port = signer.grpc.split(":")
    try:
        with socket.create_connection((host, int(port)), 5):
            return True
    except (ConnectionRefusedError, ConnectionResetError):
        # A reset: it came while the port was being closed.
        return False


def in_flight(signer: SignerProcess) -> float:
    """How many requests the signer says are in flight."""
    lines = signer.admin("/metrics").body.splitlines()
    (line,) = (line for line in lines if line.startswith("istio_signer_in_flight "))
    return float(line.split()[1])


def flood(balancer: Balancer, signer: SignerProcess, workload: Workload, *flags: str) -> Callable[[], LoadResult]:
    """A batch of requests to whichever signer the balancer picks."""
    who: list[str | Path] = ["-token-file", workload.token_file, "-san", workload.spiffe_id]
    sizes = ["-n", str(BATCH), "-conns", "4", "-concurrency", "4", "-csrs", "50"]
    return lambda: load("-addr", balancer.grpc, "-root", signer.roots, *who, *sizes, *flags)


def test_clients_fail_over_without_a_failed_call(start_signer: StartSigner, new_workload: NewWorkload) -> None:
    """Two replicas behind one Service address; calls that no client repeats, on kept and on fresh connections."""
    workload = new_workload()
    shutdown = {"delay": "1s", "grace": "5s"}
    leaving, staying = start_signer("leaving", shutdown=shutdown), start_signer("staying", shutdown=shutdown)
    with Balancer([leaving, staying]) as balancer:
        kept = Stream(flood(balancer, leaving, workload))
        fresh = Stream(flood(balancer, leaving, workload, "-fresh", "-warmup", "-1"))
        with kept, fresh:
            kept.wait_for(2)
            fresh.wait_for()
            assert leaving.terminate() == 0
            kept.wait_for()
            fresh.wait_for()
    for stream in (kept, fresh):
        stream.check()
        assert stream.failures == {}, stream.first_error
    assert all(served > 4 for served in balancer.served)
    codes = {event["code"] for signer in (leaving, staying) for event in signer.audit()}
    assert codes == {"OK"}
