"""What the duties of the leader need of the API server; deploy/rbac/distribution.yaml and istiod-certificate.yaml."""

from collections.abc import Iterable

from signer.kube.rights import Right
from signer.trust.distribution.cluster_bundle import GROUP
from signer.trust.distribution.objects import TRUST_BUNDLE, TRUST_BUNDLE_SIGNER

DISTRIBUTION_ROLE = "istio-signer-distribution"
ISTIOD_ROLE = "istio-signer-istiod-certificate"
_LEASES = "coordination.k8s.io"


def roots_rights(config_map: str, cluster_trust_bundle: bool) -> list[Right]:
    """Write roots in every namespace; the ClusterTrustBundle too, where that is wanted."""
    plain = [
        *_rights("", "namespaces", ("list", "watch")),
        Right("create", "", "configmaps"),
        *_rights("", "configmaps", ("list", "watch", "patch"), name=config_map),
    ]
    return [*plain, *bundle_rights()] if cluster_trust_bundle else plain


def bundle_rights() -> list[Right]:
    """Write the one ClusterTrustBundle. Its signer must be attested (Kubernetes, "ClusterTrustBundles")."""
    return [
        Right("create", GROUP, "clustertrustbundles"),
        *_rights(GROUP, "clustertrustbundles", ("list", "watch", "patch"), name=TRUST_BUNDLE),
        Right("attest", GROUP, "signers", name=TRUST_BUNDLE_SIGNER),
    ]


def lease_rights(namespace: str, lease: str) -> list[Right]:
    """Take part in the election."""
    return [
        Right("create", _LEASES, "leases", namespace),
        *_rights(_LEASES, "leases", ("get", "update"), namespace, lease),
    ]


def record_rights(namespace: str, record: str) -> list[Right]:
    """Remember roots together with the other replicas."""
    return [
        Right("create", "", "configmaps", namespace),
        *_rights("", "configmaps", ("get", "list", "watch", "update"), namespace, record),
    ]


def istiod_rights(namespace: str, secret: str) -> list[Right]:
    """Keep istiod's certificate."""
    named = _rights("", "secrets", ("get", "list", "watch", "update"), namespace, secret)
    return [*named, Right("create", "", "secrets", namespace)]


def _rights(group: str, resource: str, verbs: Iterable[str], namespace: str = "", name: str = "") -> Iterable[Right]:
    return [Right(verb, group, resource, namespace, name=name) for verb in verbs]
