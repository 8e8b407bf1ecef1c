"""The guide's cert-manager way: a Certificate keeps the Secret `cacerts`, and the local backend signs with it, hot."""

from pathlib import Path

import pytest
from cryptography import x509

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.e2e import seed
from tests.e2e.ca import SecretMount
from tests.e2e.conftest import NewWorkload, StartSigner
from tests.e2e.process import SignerProcess
from tests.e2e.workload import Workload
from tests.mesh.credential import Party
from tests.mesh.pair import MeshPair

pytestmark = pytest.mark.timeout(180)

PLACE = "istio-system"


@pytest.fixture(scope="module")
def root(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's root, RSA-4096, with its ClusterIssuer and its Certificate applied."""
    folder = tmp_path_factory.mktemp("seed")
    made = seed.make_issuer(kube, folder)
    kube.create_namespace(PLACE)
    kube.apply(seed.CACERTS)
    return made


@pytest.fixture
def mount(kube: Kube, root: Path, tmp_path: Path) -> SecretMount:
    """The Secret as a pod sees it."""
    return SecretMount(tmp_path / "cacerts", seed.secret(kube, "cacerts", PLACE))


@pytest.fixture
def signer(start_signer: StartSigner, mount: SecretMount, root: Path) -> SignerProcess:
    """A signer of that CA."""
    return start_signer(ca=mount.path, roots=root)


def renew(kube: Kube, before: str) -> dict[str, str]:
    """Have cert-manager renew, as `cmctl renew` does, and give the new contents."""
    path = kube.path("cert-manager.io/v1", "Certificate", "cacerts", PLACE)
    stored = kube.call("GET", path)
    issuing = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test"}
    issuing["lastTransitionTime"] = stored["metadata"]["creationTimestamp"]
    stored["status"]["conditions"] = [*stored["status"]["conditions"], issuing]
    kube.call("PUT", f"{path}/status", stored)

    def renewed() -> dict[str, str] | None:
        contents = seed.secret(kube, "cacerts", PLACE)
        return contents if contents["tls.crt"] != before else None

    return until(renewed, deadline=30, what="the renewed Secret")


def pair(workloads: tuple[Workload, Workload], signer: SignerProcess, folder: Path) -> MeshPair:
    """Two Envoys with certificates of that signer."""
    front, stock = workloads
    client = Party(front.spiffe_id, stock.spiffe_id, front.obtain(signer, shape="agent"))
    return MeshPair(client, Party(stock.spiffe_id, front.spiffe_id, stock.obtain(signer)), folder)


def test_certificates_flow_to_envoys(signer: SignerProcess, new_workload: NewWorkload, tmp_path: Path) -> None:
    workloads = new_workload("front"), new_workload("stock")
    with pair(workloads, signer, tmp_path / "mesh") as mesh:
        reply = mesh.get("/")
    assert (reply.status, reply.headers["x-client-id"]) == (200, workloads[0].spiffe_id)


def test_the_chain_ends_in_the_guides_root(
    signer: SignerProcess, mount: SecretMount, root: Path, new_workload: NewWorkload, tmp_path: Path
) -> None:
    credential = new_workload().obtain(signer)
    # Not -x509_strict: the guide's root has no keyUsage, and OpenSSL's strict rules want one.
    (tmp_path / "leaf.pem").write_text(credential.chain[0])
    (tmp_path / "above.pem").write_text(credential.chain[1])
    said = seed.shell(f"openssl verify -purpose sslserver -CAfile {root} -untrusted above.pem leaf.pem", tmp_path)
    assert said == "leaf.pem: OK\n"
    assert credential.chain[1] == (mount.path / "tls.crt").read_text()
    assert x509.load_pem_x509_certificate(credential.roots.encode()) == x509.load_pem_x509_certificate(
        root.read_bytes()
    )


def test_a_renewal_is_taken_over_under_load_with_nothing_failing(
    signer: SignerProcess, mount: SecretMount, kube: Kube, new_workload: NewWorkload, tmp_path: Path
) -> None:
    workloads = new_workload("front"), new_workload("stock")
    mesh = pair(workloads, signer, tmp_path / "mesh")
    before = (mount.path / "tls.crt").read_text()
    with mesh, mesh.constant_load(rate=50, seconds=90) as load:
        load.wait_for(10)
        mount.write(renew(kube, before))

        def renewed() -> bool:
            return workloads[1].obtain(signer).chain[1] != before

        until(renewed, deadline=15, what="the renewed CA to sign")
        mesh.rotate("server", workloads[1].obtain(signer))
        load.wait_for(10)
    assert load.failures == []


def test_its_end_is_shown(signer: SignerProcess, mount: SecretMount) -> None:
    end = x509.load_pem_x509_certificate((mount.path / "tls.crt").read_bytes()).not_valid_after_utc
    name = 'istio_signer_issuer_expiry_timestamp_seconds{backend="local"}'
    (line,) = (line for line in signer.admin("/metrics").body.splitlines() if line.startswith(name))
    assert float(line.split(" ")[1]) == end.timestamp()
