"""The API server hangs, dies or forbids: callers are told to come back, never that their tokens are bad."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, GROUP, account_kubeconfig, allowed, grant
from tests.e2e.conftest import StartSigner
from tests.e2e.process import SignerProcess
from tests.e2e.workload import Workload

pytestmark = pytest.mark.timeout(180)

PLACE, ACCOUNT = "signer-system", "istio-signer"
DEADLINE_S = 3.0
RECOVERY_LIMIT = 30.0
CREATE_REVIEWS = {"verb": "create", "group": "authentication.k8s.io", "resource": "tokenreviews"}


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that these tests break. Each test leaves it working."""
    with Cluster(tmp_path_factory.mktemp("own-cluster")) as running:
        yield running


@pytest.fixture
def own_kube(own_cluster: Cluster) -> Iterator[Kube]:
    """Its administrator."""
    with Kube.load(own_cluster.kubeconfig) as client:
        client.create_namespace("shop")
        yield client


@pytest.fixture
def signer(start_signer: StartSigner, own_kube: Kube, tmp_path: Path) -> SignerProcess:
    """A signer of that cluster, with a short deadline and the default memory of verdicts."""
    access = account_kubeconfig(own_kube, tmp_path / "kubeconfig", PLACE, ACCOUNT)
    return start_signer(kubeconfig=access, limits={"deadline": f"{DEADLINE_S}s"})


@pytest.fixture
def workload(own_kube: Kube, tmp_path: Path) -> Workload:
    """A workload whose token has been judged once already."""
    return Workload.create(own_kube, "shop", "app", tmp_path)


def works(signer: SignerProcess, workload: Workload) -> bool:
    """Whether a new token gets a certificate; until then, nobody is told that it is bad."""
    workload.write_token()
    result = workload.ask(signer, "-guard", "20s")
    assert result["code"] in {"OK", "Unavailable"}, result
    return result["code"] == "OK"


def recovers(signer: SignerProcess, workload: Workload) -> None:
    """It serves again, and it is the same process."""
    pid = signer.pid
    until(lambda: works(signer, workload), deadline=RECOVERY_LIMIT, what="certificates after the outage")
    assert signer.running
    assert signer.pid == pid
    assert signer.admin("/readyz").status == 200
    assert signer.terminate() == 0  # Everything is written at the end.
    codes = {event["code"] for event in signer.audit()}
    assert codes == {"OK", "UNAVAILABLE"}


def test_api_server_that_hangs(own_cluster: Cluster, own_kube: Kube, signer: SignerProcess, workload: Workload) -> None:
    assert works(signer, workload)
    judged = workload.token_file.read_text()
    workload.write_token()
    with ExitStack() as stack:
        own_cluster.pause()
        stack.callback(own_cluster.resume)
        unjudged = workload.flood(signer, 4, "-warmup", "-1")
        assert unjudged["errors"] == {"Unavailable": 4}, unjudged["first_error"]
        assert unjudged["seconds"] < DEADLINE_S + 2.0, "a hanging API server must not freeze proxies"
        workload.write_token(judged)
        assert workload.flood(signer, 4, "-warmup", "-1")["errors"].keys() <= {"Unavailable"}
        assert signer.admin("/livez").status == 200
    recovers(signer, workload)


def test_api_server_that_dies(own_cluster: Cluster, own_kube: Kube, signer: SignerProcess, workload: Workload) -> None:
    assert works(signer, workload)
    workload.write_token()
    with ExitStack() as stack:
        own_cluster.kill()
        stack.callback(own_cluster.start)
        result = workload.ask(signer)
        assert (result["code"], result["attempt_codes"]) == ("Unavailable", ["Unavailable"] * 5)
        assert result["text"].startswith("authentication is unavailable, try again (request ")
        assert signer.admin("/readyz").status == 200, "all replicas would be unready at once"
    recovers(signer, workload)


def test_signer_starts_without_an_api_server(
    own_cluster: Cluster, own_kube: Kube, start_signer: StartSigner, workload: Workload, tmp_path: Path
) -> None:
    """A cluster that restarts brings everything up at once, in any order."""
    access = account_kubeconfig(own_kube, tmp_path / "kubeconfig", PLACE, ACCOUNT)
    with ExitStack() as stack:
        own_cluster.kill()
        stack.callback(own_cluster.start)
        signer = start_signer(kubeconfig=access)
        assert workload.ask(signer)["code"] == "Unavailable"
    recovers(signer, workload)


def test_rights_that_are_revoked(own_kube: Kube, signer: SignerProcess, workload: Workload) -> None:
    assert works(signer, workload)
    with ExitStack() as stack:
        own_kube.delete(f"{GROUP}/v1", "ClusterRoleBinding", f"{PLACE}-{ACCOUNT}")
        stack.callback(grant, own_kube, PLACE, ACCOUNT, [CREATE_TOKEN_REVIEWS])
        until(
            lambda: not allowed(own_kube, PLACE, ACCOUNT, CREATE_REVIEWS), deadline=10, what="the rights to be revoked"
        )
        workload.write_token()
        result = workload.ask(signer)
        assert (result["code"], result["attempts"]) == ("Unavailable", 5)
        assert "tokenreviews" not in result["text"], "the hint is for operators"
        signer.wait_log("HTTP 403: may this service account create tokenreviews?")
    recovers(signer, workload)
