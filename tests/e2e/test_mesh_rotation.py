"""Two Envoys under constant HTTP load while their certificates, the CA and the root are all replaced."""

from pathlib import Path

import pytest

from tests.cluster.poll import until
from tests.e2e.ca import CaFiles, SecretMount, make_ca, renewed_intermediate, with_roots
from tests.e2e.conftest import NewWorkload, StartSigner
from tests.e2e.process import SignerProcess
from tests.e2e.workload import Shape, Workload
from tests.mesh.credential import Credential, Party
from tests.mesh.pair import MeshPair, Side

pytestmark = pytest.mark.timeout(180)

SIDES: tuple[Side, Side] = ("client", "server")
SHAPES: dict[Side, Shape] = {"client": "agent", "server": "ztunnel"}


class Mesh:
    """The workloads of both sides, and the CA that signs for them."""

    def __init__(self, signer: SignerProcess, mount: SecretMount, new_workload: NewWorkload) -> None:
        self.signer = signer
        self.mount = mount
        self.workloads: dict[Side, Workload] = {"client": new_workload("front"), "server": new_workload("stock")}

    def obtain(self, side: Side) -> Credential:
        """One more certificate for a side."""
        return self.workloads[side].obtain(self.signer, shape=SHAPES[side])

    def party(self, side: Side, peer: Side) -> Party:
        """A side that accepts its peer only."""
        return Party(self.workloads[side].spiffe_id, self.workloads[peer].spiffe_id, self.obtain(side))

    def install(self, files: CaFiles) -> None:
        """Change the CA, and wait until it signs with the new one's roots."""
        self.mount.write(files)
        roots = sorted(files["root-cert.pem"])

        def signs() -> bool:
            chain = self.obtain("server").chain
            return chain[1] == files["ca-cert.pem"] and sorted(chain[-1]) == roots

        until(signs, deadline=15, what="the new CA to sign")


@pytest.fixture
def phases(tmp_path: Path) -> list[CaFiles]:
    """A renewed intermediate, then another root: first distributed, then signing, then alone."""
    first, second = make_ca(tmp_path / "first"), make_ca(tmp_path / "second")
    renewed = renewed_intermediate(tmp_path / "first", "Renewed Intermediate CA")
    return [first, renewed, with_roots(renewed, second), with_roots(second, first), second]


def test_nothing_fails_while_everything_is_replaced(
    start_signer: StartSigner, new_workload: NewWorkload, phases: list[CaFiles], tmp_path: Path
) -> None:
    roots = tmp_path / "all-roots.pem"
    roots.write_text(phases[2]["root-cert.pem"])
    mount = SecretMount(tmp_path / "mount", phases[0])
    mesh = Mesh(start_signer(ca=mount.path, roots=roots), mount, new_workload)
    serials = set()
    pair = MeshPair(mesh.party("client", "server"), mesh.party("server", "client"), tmp_path / "mesh")
    with pair, pair.constant_load(rate=50, seconds=120) as load:
        load.wait_for(10)
        for files in phases[1:]:
            mesh.install(files)
            for side in SIDES:
                credential = mesh.obtain(side)
                serials |= {credential.serial} if side == "client" else set()
                pair.rotate(side, credential)
                load.wait_for(5)

    assert load.failures == []
    assert serials <= set(load.serials), "each certificate was really used"
    assert pair.identities() == (mesh.workloads["client"].spiffe_id, mesh.workloads["server"].spiffe_id)
