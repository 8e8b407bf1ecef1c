"""Replicas against a real API server, with the rights of deploy/rbac: one writes, another takes over."""

import signal
import time
import uuid
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.poll import until
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, grant
from tests.e2e.ca import make_ca
from tests.e2e.command import ROOT
from tests.e2e.conftest import StartSigner
from tests.e2e.process import SignerError, SignerProcess
from tests.e2e.settings import write_settings

pytestmark = pytest.mark.timeout(180)
NAME, KEY = "istio-ca-root-cert", "root-cert.pem"
LEASE_SECONDS = 4.0


def rules(kind: str, manifest: str = "distribution") -> list[Manifest]:
    """What a manifest of deploy/rbac grants."""
    documents = yaml.safe_load_all((ROOT / f"deploy/rbac/{manifest}.yaml").read_text())
    return [rule for document in documents if document["kind"] == kind for rule in document["rules"]]


@dataclass(frozen=True)
class Scene:
    """Some namespaces, and an account that may distribute to them."""

    kube: Kube
    start: StartSigner
    home: str
    label: str
    access: Path

    def signer(self, name: str, ca: Path, distribution: dict[str, Any] | None = None, **sections: Any) -> SignerProcess:
        """Start a replica."""
        section, roots = self.distribution(distribution or {}), ca / "root-cert.pem"
        return self.start(name, ca=ca, kubeconfig=self.access, roots=roots, distribution=section, **sections)

    def distribution(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The section for these namespaces and this lease."""
        return {
            "enabled": True,
            "lease_namespace": self.home,
            "lease_duration": f"{LEASE_SECONDS}s",
            "namespace_selector": f"test={self.label}",
            **changes,
        }

    def namespace(self) -> str:
        """Make a selected namespace."""
        name = f"app-{uuid.uuid4().hex[:12]}"
        self.kube.create_namespace(name, {"test": self.label})
        return name

    def held(self, namespace: str) -> str:
        """The roots there."""
        found = self.kube.list_all("v1", "ConfigMap", namespace)
        return next((m["data"][KEY] for m in found if m["metadata"]["name"] == NAME), "")

    def leaders(self, *signers: SignerProcess) -> list[SignerProcess]:
        """Who says that it leads."""
        return [s for s in signers if "istio_signer_leader 1.0\n" in s.admin("/metrics").body]


@pytest.fixture
def scene(kube: Kube, start_signer: StartSigner, namespace: str, tmp_path: Path) -> Scene:
    """An account in a namespace of its own, for each test's own lease."""
    kube.create_service_account(namespace, "istio-signer")
    grant(kube, namespace, "istio-signer", [*rules("ClusterRole"), CREATE_TOKEN_REVIEWS])
    both = [*rules("Role"), *rules("Role", "istiod-certificate")]
    grant(kube, namespace, "istio-signer", both, cluster_wide=False)
    access = kube.write_kubeconfig(tmp_path / "access", namespace, "istio-signer")
    return Scene(kube, start_signer, namespace, uuid.uuid4().hex[:12], access)


def test_the_leader_dies_and_the_other_one_writes(scene: Scene, tmp_path: Path) -> None:
    make_ca(tmp_path / "ca")
    roots = (tmp_path / "ca" / "root-cert.pem").read_text()
    first = scene.namespace()
    one, other = (scene.signer(name, tmp_path / "ca") for name in ("one", "other"))
    until(lambda: scene.held(first) == roots, deadline=10, what="the roots")
    (leader,) = until(lambda: scene.leaders(one, other), deadline=5, what="a leader")
    survivor = other if leader is one else one
    leader.kill()
    begun = time.monotonic()
    second = scene.namespace()
    until(lambda: scene.held(second) == roots, deadline=15, what="the roots by the other one")
    # The lease must run out, then the next look finds it so.
    assert time.monotonic() - begun < LEASE_SECONDS + 2.0
    assert scene.leaders(survivor) == [survivor]
    report = survivor.admin("/readyz?verbose").body
    assert "[+] lease: this replica leads\n[+] trust record: in step\n[+] distribution: 0 of 2 namespaces" in report


def test_a_leader_that_slept_overwrites_nothing_newer(scene: Scene, tmp_path: Path) -> None:
    """It wakes up with the roots of before; meanwhile the other one has learnt of one more, and has told everybody."""
    make_ca(tmp_path / "ca")
    roots = (tmp_path / "ca" / "root-cert.pem").read_text()
    place = scene.namespace()
    one = scene.signer("one", tmp_path / "ca")
    until(lambda: scene.held(place) == roots, deadline=10, what="the roots")
    make_ca(tmp_path / "more")
    extra = {"roots": [{"file": str(tmp_path / "more" / "root-cert.pem")}]}
    other = scene.signer("other", tmp_path / "ca", trust=extra)
    one.signal(signal.SIGSTOP)
    try:
        until(lambda: scene.held(place).count("BEGIN") == 2, deadline=15, what="both roots by the other one")
        both, seen = scene.held(place), set[str]()
    finally:
        one.signal(signal.SIGCONT)
    end = time.monotonic() + 2 * LEASE_SECONDS
    while time.monotonic() < end:
        seen.add(scene.held(place))
        time.sleep(0.05)
    assert seen == {both}
    assert scene.leaders(one, other) == [other]


def test_a_leader_that_ends_hands_over_at_once(scene: Scene, tmp_path: Path) -> None:
    make_ca(tmp_path / "ca")
    roots = (tmp_path / "ca" / "root-cert.pem").read_text()
    one = scene.signer("one", tmp_path / "ca", {"lease_duration": "60s"})
    until(lambda: scene.leaders(one), deadline=10, what="a leader")
    other = scene.signer("other", tmp_path / "ca", {"lease_duration": "60s"})
    one.terminate()
    until(lambda: scene.leaders(other), deadline=8, what="the other one to lead")
    place = scene.namespace()
    until(lambda: scene.held(place) == roots, deadline=5, what="the roots")


def test_a_replica_is_not_ready_before_it_knows_what_the_others_know(scene: Scene, tmp_path: Path) -> None:
    """Its answers might lack a root that the others' have promised to everybody."""
    make_ca(tmp_path / "ca")
    grant(scene.kube, scene.home, "istio-signer", [CREATE_TOKEN_REVIEWS], cluster_wide=False)
    sections = {"distribution": scene.distribution({})}
    config = write_settings(tmp_path / "blind", tmp_path / "ca", scene.access, sections)
    signer = SignerProcess(tmp_path / "blind", ["--config", config], tmp_path / "ca" / "root-cert.pem")
    with pytest.raises(SignerError, match="configmaps: HTTP 403"):
        signer.start(deadline=6)
    both = [*rules("Role"), *rules("Role", "istiod-certificate")]
    grant(scene.kube, scene.home, "istio-signer", both, cluster_wide=False)
    with signer:
        assert "[+] trust-record" in signer.admin("/readyz?verbose").body


def test_istiods_certificate(scene: Scene, tmp_path: Path) -> None:
    """Made by the leader, from the mesh's own root, with the names of each revision; and made again when it is gone."""
    make_ca(tmp_path / "ca")
    istiod = {"enabled": True, "namespace": scene.home, "revisions": ["default", "canary"], "ttl": "1h"}
    signer = scene.signer("one", tmp_path / "ca", istiod=istiod)

    def secret() -> dict[str, str]:
        found = scene.kube.list_all("v1", "Secret", scene.home)
        return next((m["data"] for m in found if m["metadata"]["name"] == "istiod-tls"), {})

    data = until(secret, deadline=10, what="the Secret")
    certificate = x509.load_pem_x509_certificate(b64decode(data["tls.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    wanted = {f"istiod.{scene.home}.svc", f"istiod-canary.{scene.home}.svc"}
    assert set(names.get_values_for_type(x509.DNSName)) >= wanted
    assert b64decode(data["ca.crt"]).decode() == (tmp_path / "ca" / "root-cert.pem").read_text()
    assert "istio_signer_istiod_certificate_expiry_timestamp_seconds" in signer.admin("/metrics").body
    scene.kube.delete("v1", "Secret", "istiod-tls", scene.home)
    again = until(secret, deadline=5, what="the Secret, again")
    assert again["tls.crt"] != data["tls.crt"]


def test_the_bundle_for_federated_meshes(scene: Scene, tmp_path: Path) -> None:
    make_ca(tmp_path / "ca")
    one = scene.signer("one", tmp_path / "ca")
    assert '"use": "x509-svid"' in one.admin("/spiffe/bundle").body
