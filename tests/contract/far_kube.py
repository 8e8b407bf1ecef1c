"""The backends that sign by way of Kubernetes objects: a real API server with real controllers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from backends.cert_manager import spec as cert_manager
from backends.cert_manager.settings import CertManagerSettings, IssuerRef
from backends.intermediate.backend import IntermediateBackend
from backends.intermediate.minting import IntermediateSettings
from backends.kubernetes_csr import backend as kubernetes_csr
from backends.kubernetes_csr.settings import KubernetesCsrSettings
from backends.remote import learning
from signer.core.errors import BackendRefused
from signer.core.ports import Backend
from signer.core.spec import BackendContext
from signer.runtime.clock import SystemClock
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.contract.far_side import PATIENCE, Stage, asked_at
from tests.contract.waiting import Changes
from tests.kube_backends.scene import REQUESTS, access
from tests.kube_backends.test_kubernetes_csr import DOMAIN, rules
from tests.mesh.pki import Authority, key_pem, pem

Build = Callable[[Path, Path], Backend]


class KubeFarSide:
    """One kind of request, and the ClusterIssuer that signs it; all are named after the test's namespace."""

    def __init__(self, stage: Stage, kind: tuple[str, str], rights: list[Manifest], build: Build) -> None:
        self.clock = SystemClock()
        self._kube: Kube = stage.fixture("kube")
        self._name = stage.namespace
        self._api_version, self._kind = kind
        self._rights = rights
        self._folder = stage.folder
        self._roots = stage.folder / "roots.pem"
        self._root = Authority.root(f"{self._name} root")
        self._roots.write_text(pem(self._root.certificate))
        self.backend = build(stage.folder / "kubeconfig", self._roots)

    async def prepare(self) -> None:
        """A ready issuer, and the rights to use it."""
        await asyncio.to_thread(self._set_up)
        await self.backend.start()

    async def take_away(self) -> None:
        """No access to the cluster."""
        await self.backend.start()

    async def mend(self) -> None:
        """Give access."""
        changes = Changes(self.backend, self.clock)
        await asyncio.to_thread(self._set_up)
        await changes.seen()

    async def change_issuer(self) -> None:
        """Another intermediate under the same root."""
        await self._change(lambda: self._install(self._root.intermediate("second")))

    async def change_root(self) -> None:
        """Another root, which the file of roots has too."""
        other = Authority.root("other root")
        self._roots.write_text(pem(self._root.certificate) + pem(other.certificate))
        await self._change(lambda: self._install(other.intermediate("third")))

    async def refuse(self) -> None:
        """An admission policy that denies our requests, and those of nobody else."""
        await asyncio.to_thread(self._deny)
        # It counts a moment after it was made.
        for _ in range(100):
            with suppress(BackendRefused):
                await self.backend.sign(asked_at(self.clock))
                await asyncio.sleep(0.1)
                continue
            return
        raise TimeoutError("the admission policy does not count")

    async def stall(self) -> None:
        """Take the issuer away: requests wait for it to come back."""
        await asyncio.to_thread(self._kube.delete, "cert-manager.io/v1", "ClusterIssuer", self._name)

    async def left(self) -> int:
        """The requests that are there."""
        selector = f"istio-signer.io/backend={self._name}"
        found = await asyncio.to_thread(self._kube.list_all, self._api_version, self._kind, "", selector)
        return len(found)

    def _set_up(self) -> None:
        self._install(self._root.intermediate("first"))
        access(self._kube, self._folder, self._name, *self._rights)

    def _install(self, ca: Authority) -> None:
        content = {"tls.crt": "".join(ca.chain()), "tls.key": key_pem(ca.key)}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self._name}, "stringData": content}
        issuer: dict[str, Any] = {"kind": "ClusterIssuer", "metadata": {"name": self._name}}
        issuer |= {"apiVersion": "cert-manager.io/v1", "spec": {"ca": {"secretName": self._name}}}
        self._kube.wait_condition(self._kube.apply([secret, issuer], "cert-manager")[1])

    async def _change(self, work: Callable[[], None]) -> None:
        changes = Changes(self.backend, self.clock)
        await changes.note()
        await asyncio.to_thread(work)
        if isinstance(self.backend, IntermediateBackend):
            # The controller may sign with the old key for a moment more.
            await asyncio.sleep(1.0)
            self.backend.renew_early()
        await changes.seen()

    def _deny(self) -> None:
        group, version = self._api_version.split("/")
        plural = self._kube.path(self._api_version, self._kind).rpartition("/")[2]
        rule = {"apiGroups": [group], "apiVersions": [version], "resources": [plural], "operations": ["CREATE"]}
        ours = {"matchLabels": {"istio-signer.io/backend": self._name}}
        match = {"resourceRules": [rule], "objectSelector": ours}
        head: Manifest = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": self._name}}
        policy = {"matchConstraints": match, "validations": [{"expression": "false", "message": "not here"}]}
        binding = {"policyName": self._name, "validationActions": ["Deny"]}
        kinds = ("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)
        self._kube.apply({**head, "kind": kind, "spec": spec} for kind, spec in kinds)


def cert_manager_direct(stage: Stage) -> KubeFarSide:
    """Each leaf is a CertificateRequest."""
    return _cert_manager(stage, CertManagerSettings(IssuerRef(stage.namespace, "ClusterIssuer"), stage.namespace))


def cert_manager_intermediate(stage: Stage) -> KubeFarSide:
    """One CertificateRequest for a CA."""
    settings = CertManagerSettings(IssuerRef(stage.namespace, "ClusterIssuer"), stage.namespace, mode="intermediate")
    return _cert_manager(stage, replace(settings, intermediate=IntermediateSettings(new_root_delay=timedelta(0))))


def _cert_manager(stage: Stage, settings: CertManagerSettings) -> KubeFarSide:
    def build(kubeconfig: Path, _: Path) -> Backend:
        own = replace(settings, kubeconfig=kubeconfig, timeout=PATIENCE)
        return cert_manager.build(own, BackendContext(stage.namespace, SystemClock()))

    return KubeFarSide(stage, ("cert-manager.io/v1", "CertificateRequest"), [REQUESTS], build)


def csr(stage: Stage) -> KubeFarSide:
    """Each leaf is a CertificateSigningRequest."""
    signer = f"{DOMAIN}/{stage.namespace}"
    learning.FILE_SECONDS = 0.2

    def build(kubeconfig: Path, roots: Path) -> Backend:
        settings = KubernetesCsrSettings(
            signer, approve=True, roots_file=roots, kubeconfig=kubeconfig, timeout=PATIENCE
        )
        return kubernetes_csr.KubernetesCsrBackend(settings, BackendContext(stage.namespace, SystemClock()))

    return KubeFarSide(stage, ("certificates.k8s.io/v1", "CertificateSigningRequest"), rules(signer), build)
