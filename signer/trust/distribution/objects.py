"""The Kubernetes objects that carry roots, as manifests. Pure.

Sources: istio ``pkg/config/constants`` (``istio-ca-root-cert``, ``root-cert.pem``), ``pilot/pkg/serviceregistry/kube/
controller/namespacecontroller.go`` (the label); Kubernetes certificates.k8s.io ClusterTrustBundle.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from signer.core.chain import TrustBundle

Manifest = dict[str, Any]
MANAGER = "istio-signer"
KEY = "root-cert.pem"
LABELS = {"istio.io/config": "true", "app.kubernetes.io/managed-by": MANAGER}
TRUST_BUNDLE = "istio.io:istiod-ca:root-cert"
TRUST_BUNDLE_SIGNER = "istio.io/istiod-ca"


def digest_of(text: str) -> str:
    """The digest that ``TrustBundle.digest`` has for the same PEM."""
    return sha256(text.encode("utf-8")).hexdigest()


@dataclass(frozen=True, slots=True)
class Held:
    """What a namespace's ConfigMap holds, as seen last.

    Attributes:
        version: Its resourceVersion.
        digest: Of the text under ``KEY``; empty where there is none.
        writers: The field managers of that text, for whoever finds that somebody else keeps writing.
    """

    version: str
    digest: str
    writers: tuple[str, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> "Held":
        """Read a ConfigMap."""
        text = (manifest.get("data") or {}).get(KEY)
        metadata = manifest["metadata"]
        return cls(str(metadata.get("resourceVersion", "")), digest_of(text) if text else "", _writers(metadata))


def _writers(metadata: Manifest) -> tuple[str, ...]:
    entries = metadata.get("managedFields") or []
    return tuple(
        str(entry.get("manager", ""))[:80]
        for entry in entries
        if f"f:{KEY}" in (((entry.get("fieldsV1") or {}).get("f:data")) or {})
    )


def is_ending(namespace: Manifest) -> bool:
    """Tell whether a namespace is being deleted: nothing can be created there."""
    return bool(namespace["metadata"].get("deletionTimestamp")) or (
        (namespace.get("status") or {}).get("phase") == "Terminating"
    )


def config_map(namespace: str, name: str, bundle: TrustBundle, version: str = "") -> Manifest:
    """The ConfigMap of a namespace; with ``version`` it is written only over that one."""
    metadata: Manifest = {"name": name, "namespace": namespace, "labels": LABELS}
    if version:
        metadata["resourceVersion"] = version
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: bundle.pem}}


def trust_bundle(group_version: str, bundle: TrustBundle, version: str = "") -> Manifest:
    """The ClusterTrustBundle that Istio reads."""
    metadata: Manifest = {"name": TRUST_BUNDLE, "labels": {"app.kubernetes.io/managed-by": MANAGER}}
    if version:
        metadata["resourceVersion"] = version
    spec = {"signerName": TRUST_BUNDLE_SIGNER, "trustBundle": bundle.pem}
    return {"apiVersion": group_version, "kind": "ClusterTrustBundle", "metadata": metadata, "spec": spec}
