"""The main job: a pod's token and a CSR in, a chain out that OpenSSL, webpki's twin and two Envoys accept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store

from tests.e2e.conftest import NewWorkload
from tests.e2e.process import SignerProcess
from tests.e2e.workload import Shape, Workload
from tests.mesh.credential import Credential, Party
from tests.mesh.pair import MeshPair
from tests.mesh.x509_strict import verify_strict

pytestmark = pytest.mark.timeout(180)

STRANGER = "spiffe://cluster.local/ns/other/sa/stranger"
SHAPES: tuple[Shape, Shape] = ("agent", "ztunnel")


def leaf_of(credential: Credential) -> x509.Certificate:
    """The leaf: the one certificate of element 0."""
    (leaf,) = x509.load_pem_x509_certificates(credential.chain[0].encode())
    return leaf


def public_bytes(key: object) -> bytes:
    """The key's SubjectPublicKeyInfo."""
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]


@pytest.fixture
def workloads(new_workload: NewWorkload) -> dict[Shape, Workload]:
    """A sidecar's workload and one behind a ztunnel, of two service accounts."""
    return {"agent": new_workload("front"), "ztunnel": new_workload("stock")}


@pytest.mark.parametrize("shape", SHAPES)
def test_chain_passes_strict_verifiers(signer: SignerProcess, workloads: dict[Shape, Workload], shape: Shape) -> None:
    """Contract 0.10: the agent's RSA-2048 with an empty O, and ztunnel's P-256 with a SAN that is not critical."""
    credential = workloads[shape].obtain(signer, shape=shape)

    verify_strict(credential.chain, "sslserver")
    verify_strict(credential.chain, "sslclient")
    store = Store(x509.load_pem_x509_certificates(credential.roots.encode()))
    intermediates = [x509.load_pem_x509_certificate(element.encode()) for element in credential.chain[1:-1]]
    verified = PolicyBuilder().store(store).build_client_verifier().verify(leaf_of(credential), intermediates)
    assert verified.subjects == [x509.UniformResourceIdentifier(workloads[shape].spiffe_id)]


@pytest.mark.parametrize("shape", SHAPES)
def test_answer_is_laid_out_for_every_proxy(
    signer: SignerProcess, workloads: dict[Shape, Workload], shape: Shape
) -> None:
    credential = workloads[shape].obtain(signer, shape=shape)

    assert len(credential.chain) == 3, "leaf, intermediate, root"
    assert all(element.endswith("-----END CERTIFICATE-----\n") for element in credential.chain)
    assert credential.roots == signer.roots.read_text()
    key = load_pem_private_key(credential.key.encode(), None)
    assert public_bytes(key.public_key()) == public_bytes(leaf_of(credential).public_key())


def test_lifetime_is_as_asked(signer: SignerProcess, workloads: dict[Shape, Workload]) -> None:
    before = datetime.now(UTC)
    leaf = leaf_of(workloads["agent"].obtain(signer, "-ttl", "3600"))

    assert abs(leaf.not_valid_after_utc - before - timedelta(hours=1)) < timedelta(seconds=30)
    assert timedelta(0) < before - leaf.not_valid_before_utc <= timedelta(seconds=90), "backdated a little"


def test_decision_is_logged_and_audited(signer: SignerProcess, workloads: dict[Shape, Workload]) -> None:
    workload = workloads["ztunnel"]
    serial = f"{workload.obtain(signer).serial:x}"

    signer.wait_log(serial)
    (line,) = (line for line in signer.log().splitlines() if serial in line)
    assert "CSR signed" in line
    assert workload.spiffe_id in line
    event = signer.decision(serial=serial)
    assert (event["decision"], event["identity"], event["method"]) == ("signed", workload.spiffe_id, "token-review")
    assert event["pod"]["name"] == workload.pod
    written = signer.log() + signer.audit_file.read_text()
    assert workload.token_file.read_text() not in written
    assert "PRIVATE KEY" not in written


def pair(folder: Path, workloads: dict[Shape, Workload], signer: SignerProcess, **accepts: str) -> MeshPair:
    """The agent's workload as the client of ztunnel's; either may be told to accept somebody else."""
    front, stock = workloads["agent"], workloads["ztunnel"]
    client = Party(front.spiffe_id, accepts.get("client", stock.spiffe_id), front.obtain(signer, shape="agent"))
    server = Party(stock.spiffe_id, accepts.get("server", front.spiffe_id), stock.obtain(signer))
    return MeshPair(client, server, folder)


def test_two_envoys_pass_http_over_mutual_tls(
    signer: SignerProcess, workloads: dict[Shape, Workload], tmp_path: Path
) -> None:
    with pair(tmp_path / "mesh", workloads, signer) as mesh:
        reply = mesh.get("/hello")

        assert reply.status == 200, reply
        assert (reply.headers["x-client-id"], reply.headers["x-server-id"]) == mesh.identities()
        assert mesh.identities() == (workloads["agent"].spiffe_id, workloads["ztunnel"].spiffe_id)
        assert mesh.tls_failures("client") == mesh.tls_failures("server") == {}


@pytest.mark.parametrize("side", ["client", "server"])
def test_wrong_identity_is_refused_by_envoy(
    signer: SignerProcess, workloads: dict[Shape, Workload], tmp_path: Path, side: str
) -> None:
    with pair(tmp_path / "mesh", workloads, signer, **{side: STRANGER}) as mesh:
        assert mesh.get().status == 503
        assert "fail_verify_san" in mesh.tls_failures("client" if side == "client" else "server")
