"""CertificateRequests of cert-manager.io/v1: how they are written and what their conditions mean. Pure.

Source: cert-manager, pkg/apis/certmanager/v1/types_certificaterequest.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography import x509

from backends.cert_manager.settings import IssuerRef
from backends.kube_requests.kind import Manifest, Verdict, conditions, is_true, words
from backends.kube_requests.text import decoded, encoded_csr

API = "cert-manager.io/v1"
KIND = "CertificateRequest"
# What istio-csr writes, and approvers and policies read.
IDENTITIES = "istio.cert-manager.io/identities"


@dataclass(frozen=True, slots=True)
class Order:
    """What one CertificateRequest asks for."""

    csr: x509.CertificateSigningRequest
    duration: timedelta
    usages: Sequence[str]
    issuer: IssuerRef
    is_ca: bool = False


def manifest(order: Order, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Manifest:
    """Write a request, without its name."""
    return {
        "apiVersion": API,
        "kind": KIND,
        "metadata": {"labels": dict(labels), "annotations": dict(annotations)},
        "spec": {
            "request": encoded_csr(order.csr),
            "duration": f"{max(1, round(order.duration.total_seconds()))}s",
            "issuerRef": order.issuer.manifest(),
            "usages": list(order.usages),
            "isCA": order.is_ca,
        },
    }


class CertificateRequests:
    """The kind, in one namespace."""

    resource = "certificaterequests.cert-manager.io"

    def __init__(self, namespace: str) -> None:
        self.path = f"/apis/{API}/namespaces/{namespace}/certificaterequests"

    def same(self, existing: Manifest, wanted: Manifest) -> bool:
        """Tell whether an existing request asks for the same. Its life was decided by another clock: verify judges."""
        ours, theirs = wanted["spec"], existing.get("spec") or {}
        return all(_normal(key, theirs.get(key)) == _normal(key, ours[key]) for key in ours if key != "duration")

    def verdict(self, item: Manifest) -> Verdict:
        """Read the conditions. A Ready that is False is final only where its reason is Failed or Denied."""
        found = conditions(item)
        for condition in found:
            failed = condition.get("type") == "Ready" and condition.get("reason") in ("Failed", "Denied")
            if is_true(condition, "Denied") or is_true(condition, "InvalidRequest") or failed:
                return Verdict(refused=words(condition))
        status = item.get("status") or {}
        certificate = decoded(status.get("certificate"))
        if certificate and any(is_true(condition, "Ready") for condition in found):
            return Verdict(certificate=certificate, ca=decoded(status.get("ca")))
        return Verdict(words=words(found[-1]) if found else "no approver and no issuer has looked at it yet")

    def approval(self, item: Manifest) -> Manifest | None:
        """None: approving is an approver's work."""
        return None


def _normal(key: str, value: Any) -> Any:
    """The API server leaves out what is false."""
    if key == "isCA":
        return bool(value)
    return sorted(value) if isinstance(value, list) else value
