"""What the signer costs the API server, and that it does nothing else there."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.cluster.rbac import account_kubeconfig
from tests.cluster.tokens import resign
from tests.e2e.apilog import ApiLog
from tests.e2e.conftest import NewWorkload, StartSigner

pytestmark = pytest.mark.timeout(120)

REVIEW = "create tokenreviews 201"
CACHE_S = 10


@pytest.fixture
def access(kube: Kube, namespace: str, tmp_path: Path) -> Path:
    """An account of this test's own, so that all its calls are this test's."""
    return account_kubeconfig(kube, tmp_path / "kubeconfig", namespace, "signer")


@pytest.fixture
def api_log(cluster: Cluster, kube: Kube, namespace: str) -> ApiLog:
    """What that account calls."""
    return ApiLog(cluster, kube, namespace, "signer")


def test_one_token_is_reviewed_once_within_its_cache_time(
    start_signer: StartSigner, new_workload: NewWorkload, access: Path, api_log: ApiLog
) -> None:
    workload = new_workload()
    signer = start_signer(kubeconfig=access, authentication={"cache": f"{CACHE_S}s"})
    start = time.monotonic()
    result = workload.flood(signer, 60, "-concurrency", "16", "-warmup", "-1")
    elapsed = time.monotonic() - start

    assert (result["ok"], result["errors"]) == (60, {})
    calls = api_log.calls()
    assert set(calls) == {REVIEW}
    assert len(calls) <= 1 + int(elapsed / CACHE_S), f"for {elapsed:.1f} s"


def test_each_token_is_reviewed_once(
    start_signer: StartSigner, new_workload: NewWorkload, access: Path, api_log: ApiLog
) -> None:
    workload = new_workload()
    signer = start_signer(kubeconfig=access)
    workload.write_token("\n".join(workload.new_token() for _ in range(8)))
    result = workload.flood(signer, 8, "-warmup", "-1")

    assert result["errors"] == {}
    assert api_log.calls() == [REVIEW] * 8


def test_without_a_cache_no_csr_takes_more_than_one_call(
    start_signer: StartSigner, new_workload: NewWorkload, access: Path, api_log: ApiLog
) -> None:
    workload = new_workload()
    signer = start_signer(kubeconfig=access, authentication={"cache": "0s"})
    result = workload.flood(signer, 20, "-concurrency", "1", "-warmup", "-1")

    assert result["errors"] == {}
    assert api_log.calls() == [REVIEW] * 20


Spoil = Callable[[str, Path], str]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda token, key: "garbage", id="garbage"),
        pytest.param(lambda token, key: resign(token, key, aud=["other"]), id="other-audience"),
        pytest.param(lambda token, key: resign(token, key, exp=int(time.time()) - 3600), id="long-expired"),
    ],
)
def test_hopeless_tokens_cost_no_call(
    start_signer: StartSigner,
    new_workload: NewWorkload,
    access: Path,
    api_log: ApiLog,
    cluster: Cluster,
    spoil: Spoil,
) -> None:
    workload = new_workload()
    signer = start_signer(kubeconfig=access)
    workload.write_token(spoil(workload.new_token(), cluster.service_account_key))
    result = workload.ask(signer)

    assert (result["code"], result["attempts"]) == ("Unauthenticated", 1)
    assert api_log.calls() == []


def test_an_idle_signer_calls_nobody(start_signer: StartSigner, access: Path, api_log: ApiLog) -> None:
    signer = start_signer(kubeconfig=access)
    assert signer.admin("/readyz").status == 200
    assert signer.terminate() == 0
    assert api_log.calls() == []
