"""The Secret that istiod mounts: its place, its names, its manifest. Pure.

istiod reads tls.crt, tls.key and ca.crt of the Secret ``istiod-tls``, which its chart mounts (Istio
``pkg/config/constants/constants.go``: DefaultPilotTLSCert and those beside it). The names are those of one Service per
revision, as in istio-csr's chart (``templates/certificate.yaml``).
"""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from signer.core.types import ServerNames
from signer.trust.serving import KeyPair

Manifest = dict[str, Any]
MANAGED_BY = "app.kubernetes.io/managed-by"
OURSELVES = "istio-signer"
CERTIFICATE, KEY, ROOTS = "tls.crt", "tls.key", "ca.crt"
# Whose Service has no suffix.
DEFAULT_REVISION = "default"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the Secret is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def names(namespace: str, revisions: Iterable[str], extra: Iterable[str] = ()) -> ServerNames:
    """Name istiod's Services, and whatever else it is called by; duplicates collapse.

    Args:
        namespace: istiod's.
        revisions: Istio revisions; ``default`` is the one without a suffix.
        extra: More DNS names, such as that of a gateway in front of istiod.
    """
    services = ("istiod" if r == DEFAULT_REVISION else f"istiod-{r}" for r in revisions)
    return ServerNames(tuple(dict.fromkeys([*(f"{service}.{namespace}.svc" for service in services), *extra])))


def is_ours(secret: Manifest) -> bool:
    """Tell whether a Secret bears our label: others are somebody else's."""
    return bool((secret["metadata"].get("labels") or {}).get(MANAGED_BY) == OURSELVES)


def new_secret(place: Place) -> Manifest:
    """Begin a Secret that is not there yet."""
    metadata = {"name": place.name, "namespace": place.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata}


def secret_manifest(base: Manifest, bundle_pem: str, pair: KeyPair | None = None) -> Manifest:
    """Write a Secret anew.

    Args:
        base: The Secret as it was read, or ``new_secret``. What is not ours to decide stays as it is: other keys,
            annotations, the type (which cannot be changed), and the version that guards the write.
        bundle_pem: The roots.
        pair: The new certificate; None keeps the one that is there.
    """
    kept = {key: value for key, value in base["metadata"].items() if key != "managedFields"}
    labels = {**(kept.get("labels") or {}), MANAGED_BY: OURSELVES}
    fresh = {ROOTS: bundle_pem.encode("ascii")}
    if pair is not None:
        fresh |= {CERTIFICATE: pair.chain_pem, KEY: pair.key_pem}
    data = {**(base.get("data") or {}), **{key: b64encode(value).decode("ascii") for key, value in fresh.items()}}
    return {**base, "metadata": {**kept, "labels": labels}, "data": data}
