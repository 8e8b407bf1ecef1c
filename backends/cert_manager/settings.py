"""The keys of a ``type: cert-manager`` backend."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from backends.intermediate.minting import IntermediateSettings

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class IssuerRef:
    """Which issuer signs.

    Attributes:
        name: Its name.
        kind: ``Issuer`` (of the backend's namespace), ``ClusterIssuer``, or an external issuer's kind.
        group: ``cert-manager.io``, or an external issuer's group.
    """

    name: str
    kind: str = "Issuer"
    group: str = "cert-manager.io"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!a:.80} is no name of an object")
        if not self.kind.isalnum() or not _NAME.fullmatch(self.group):
            raise ValueError(f"kind {self.kind!a:.80} or group {self.group!a:.80} is none")

    def manifest(self) -> dict[str, str]:
        """As an object's ``issuerRef``."""
        return {"name": self.name, "kind": self.kind, "group": self.group}


@dataclass(frozen=True, slots=True)
class ConfigMapRef:
    """A ConfigMap.

    Attributes:
        name: Its name.
        namespace: Its namespace.
    """

    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class CertManagerSettings:
    """Keys of a ``type: cert-manager`` backend.

    Attributes:
        issuer: Who signs.
        namespace: Where the CertificateRequests are made.
        runtime_config_map: A ConfigMap whose ``issuer-name``, ``issuer-kind`` and ``issuer-group`` replace ``issuer``
            while it is there, as in istio-csr; followed at run time.
        annotations: More annotations for each CertificateRequest, for approvers and external issuers.
        roots_file: PEM, the mesh's roots, for issuers that do not tell theirs, or to believe no others. Re-read when it
            changes.
        kubeconfig: The cluster of cert-manager; the first one of ``clusters`` where none is given.
        kube_context: A context of that file.
        timeout: For one certificate.
        preserve: Leave the CertificateRequests where they are.
        mode: ``direct`` has each leaf signed, ``intermediate`` a CA that is kept in memory.
        intermediate: For ``mode: intermediate``.
    """

    issuer: IssuerRef
    namespace: str = "istio-system"
    runtime_config_map: ConfigMapRef | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    roots_file: Path | None = None
    kubeconfig: Path | None = None
    kube_context: str | None = None
    timeout: timedelta = timedelta(seconds=6)
    preserve: bool = False
    mode: Literal["direct", "intermediate"] = "direct"
    intermediate: IntermediateSettings = field(default_factory=IntermediateSettings)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.namespace):
            raise ValueError(f"namespace {self.namespace!a:.80} is none")
        if self.kube_context is not None and self.kubeconfig is None:
            raise ValueError("kube_context is a context of kubeconfig: give that too")
        if self.timeout <= timedelta(0):
            raise ValueError("timeout must be longer than zero")
