"""The controllers as a process of their own, and the controllers of Certificates."""

from pathlib import Path

from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.controllers import CertManager
from tests.cluster.fixtures import NewCluster


def _self_signed(name: str) -> list[Manifest]:
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "own"}}
    certificate = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": name}}
    spec = {"secretName": name, "isCA": True, "commonName": name, "issuerRef": {"name": "own", "kind": "Issuer"}}
    return [{**issuer, "spec": {"selfSigned": {}}}, {**certificate, "spec": spec}]


def test_they_make_the_secret_of_a_certificate_and_stop_alone(new_cluster: NewCluster, tmp_path: Path) -> None:
    running = new_cluster()
    with Kube.load(running.kubeconfig) as kube, CertManager(tmp_path / "cm", running.kubeconfig) as controllers:
        kube.wait_condition(kube.apply(_self_signed("first"))[1], deadline=20)
        assert set(kube.get("v1", "Secret", "first", "default")["data"]) == {"ca.crt", "tls.crt", "tls.key"}

        controllers.kill()
        late = kube.apply(_self_signed("late"))[1]
        assert "status" not in kube.get("cert-manager.io/v1", "Certificate", "late", "default")

        controllers.start()
        kube.wait_condition(late, deadline=20)
