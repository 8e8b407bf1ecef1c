"""The keys of a ``type: kubernetes-csr`` backend."""

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

# Source: Kubernetes API reference, CertificateSigningRequestSpec.expirationSeconds.
FLOOR = timedelta(seconds=600)
_SIGNER = re.compile(r"[a-z0-9][-a-z0-9.]{0,252}/[A-Za-z0-9][-A-Za-z0-9_.]{0,316}")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class KubernetesCsrSettings:
    """Keys of a ``type: kubernetes-csr`` backend. The API signs for 10 minutes at least.

    Attributes:
        signer_name: Who signs, such as ``clusterissuers.cert-manager.io/istio-ca``.
        signer_domain: Instead: the signer is this domain, a slash, and the ``CertSigner`` that the caller names.
        approve: Approve our own requests, for signers that wait for an approval that nobody else gives.
        roots_file: PEM, the mesh's roots: this API does not tell them. Re-read when it changes.
        kubeconfig: The cluster; the first one of ``clusters`` where none is given.
        kube_context: A context of that file.
        timeout: For one certificate.
        preserve: Leave the CertificateSigningRequests where they are.
    """

    signer_name: str = ""
    signer_domain: str = ""
    approve: bool = False
    roots_file: Path | None = None
    kubeconfig: Path | None = None
    kube_context: str | None = None
    timeout: timedelta = timedelta(seconds=6)
    preserve: bool = False

    def __post_init__(self) -> None:
        if bool(self.signer_name) == bool(self.signer_domain):
            raise ValueError("give either signer_name or signer_domain")
        if self.signer_name and not _SIGNER.fullmatch(self.signer_name):
            raise ValueError("signer_name must be domain/name, such as clusterissuers.cert-manager.io/istio-ca")
        if self.signer_domain and not _DOMAIN.fullmatch(self.signer_domain):
            raise ValueError("signer_domain must be a DNS name, such as clusterissuers.cert-manager.io")
        if self.kube_context is not None and self.kubeconfig is None:
            raise ValueError("kube_context is a context of kubeconfig: give that too")
        if self.timeout <= timedelta(0):
            raise ValueError("timeout must be longer than zero")
