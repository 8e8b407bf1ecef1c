"""The guide's Vault section on a real OpenBao: it refuses every CSR of Istio, until what `check` prints is done."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.cluster.api import Kube
from tests.cluster.kubeconfig import Access
from tests.cluster.process import Cluster
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, grant
from tests.e2e import seed, seed_vault
from tests.e2e.command import istio_signer
from tests.e2e.conftest import NewWorkload
from tests.e2e.process import SignerProcess
from tests.mesh.credential import Party
from tests.mesh.pair import MeshPair
from tests.vault.openbao import OpenBao

pytestmark = pytest.mark.timeout(240)

PLACE, REVIEWER, SIGNER = "istio-system", "vault", "istio-signer"
ROLE_KEYS = ("require_cn", "allowed_uri_sans", "key_type", "no_store")


@dataclass(frozen=True, slots=True)
class Scene:
    """A Vault as the guide leaves it, and a signer's configuration that knows it by the guide's variables only."""

    vault: OpenBao
    config: Path
    variables: dict[str, str]

    def check(self, **variables: str) -> tuple[int, list[dict[str, Any]]]:
        """Run `check --live`; give its exit code and what it found wrong."""
        command = ["check", "--config", str(self.config), "--live", "-o", "json"]
        done = istio_signer(*command, variables={**self.variables, **variables})
        return done.code, [found for found in json.loads(done.out) if found["level"] != "ok"]

    def check_as_operator(self) -> tuple[int, list[dict[str, Any]]]:
        """The same with a token that may read roles."""
        return self.check(VAULT_TOKEN=self.vault.root_token)

    def run(self, script: str) -> str:
        """Run commands as Vault's operator."""
        return seed.shell(script, self.vault.folder, **self.vault.environment())


class Hopeless(SignerProcess):
    """One that cannot get ready."""

    def start(self, deadline: float = 0.0) -> Self:
        """Start, and wait for nothing."""
        self.spawn()
        return self


@pytest.fixture(scope="module")
def vault(cluster: Cluster, kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """OpenBao after the guide's commands, with the rights in the cluster that its own pod would have."""
    folder = tmp_path_factory.mktemp("seed-vault")
    for namespace, account in (("vault", REVIEWER), (PLACE, SIGNER)):
        kube.create_namespace(namespace)
        kube.create_service_account(namespace, account)
    grant(kube, "vault", REVIEWER, (CREATE_TOKEN_REVIEWS,))
    (folder / "reviewer").write_text(kube.service_account_token("vault", REVIEWER, ()))
    with OpenBao(folder / "openbao") as server:
        seed.shell(seed_vault.ENABLE_PKI, server.folder, **server.environment())
        words = {"token": folder / "reviewer", "host": Access.load(cluster.kubeconfig).server, "ca": cluster.ca_file}
        seed.shell(seed_vault.KUBERNETES_AUTH.format(**words), server.folder, **server.environment())
        yield server


@pytest.fixture(scope="module")
def scene(vault: OpenBao, kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The backend comes from the guide's variables; the file has only what tests need on one machine."""
    folder = tmp_path_factory.mktemp("seed-signer")
    grant(kube, PLACE, SIGNER, (CREATE_TOKEN_REVIEWS,))
    kubeconfig = kube.write_kubeconfig(folder / "kubeconfig", PLACE, SIGNER)
    token = folder / "token"
    token.write_text(kube.service_account_token(PLACE, SIGNER, ()))
    config = {
        "listen": {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
        "clusters": [{"id": "Kubernetes", "kubeconfig": str(kubeconfig)}],
        "serving": {"dns_names": [], "ip_addresses": ["127.0.0.1"]},
        "backends": {"vault": {"type": "vault", "auth": {"token_file": str(token)}}},
        "logging": {"audit": str(folder / "audit.jsonl")},
        "shutdown": {"delay": "200ms", "grace": "5s"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return Scene(vault, path, {"VAULT_ADDR": vault.address, **seed_vault.VARIABLES})


def texts(findings: list[dict[str, Any]]) -> str:
    """All that was found wrong."""
    return "\n".join(found["text"] for found in findings)


def fixes(findings: list[dict[str, Any]], where: str) -> list[str]:
    """The commands that mend what was found there."""
    return [found["fix"] for found in findings if found.get("fix") and where in found["where"]]


def process(scene: Scene, folder: Path, kind: type[SignerProcess] = SignerProcess) -> SignerProcess:
    """A signer of that scene, to be trusted by the guide's root."""
    folder.mkdir(parents=True)
    roots = folder / "roots.pem"
    roots.write_text((scene.vault.folder / "ca.crt").read_text())
    return kind(folder, ["--config", scene.config], roots, variables=scene.variables)


def test_the_guide_as_written_then_mended_by_what_check_prints(
    scene: Scene, new_workload: NewWorkload, tmp_path: Path
) -> None:
    code, found = scene.check()
    assert code == 1
    assert "login by kubernetes" in texts(found), "the guide binds istiod's account, not the signer's"
    (login,) = fixes(found, "auth")
    scene.run(login)

    _, found = scene.check()
    assert "may not be read with this login" in texts(found), "least rights: the signer's own token signs, no more"

    code, found = scene.check_as_operator()
    said = texts(found)
    assert code == 1
    assert [key for key in ROLE_KEYS if f"pki/roles/istio-ca: {key} is" not in said] == []
    assert "token_reviewer_jwt" in said
    (role,) = (fix for fix in fixes(found, "sign_path") if "roles" in fix)

    with process(scene, tmp_path / "before", Hopeless) as refused:
        refused.wait_log("no new serving certificate", deadline=30)
        assert "pki/sign/istio-ca: HTTP 400" in refused.log()
    scene.run(role)
    code, found = scene.check_as_operator()
    assert (code, [f for f in found if f["level"] == "error"]) == (0, [])

    with process(scene, tmp_path / "after") as signer:
        front, stock = new_workload("front"), new_workload("stock")
        client = Party(front.spiffe_id, stock.spiffe_id, front.obtain(signer, shape="agent"))
        server = Party(stock.spiffe_id, front.spiffe_id, stock.obtain(signer))
        assert len(client.credential.chain) == 2, "leaf and root: the guide's root signs itself"
        with MeshPair(client, server, tmp_path / "mesh") as mesh:
            reply = mesh.get("/")
            assert (reply.status, reply.headers["x-client-id"]) == (200, front.spiffe_id)
