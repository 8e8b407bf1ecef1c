"""CertificateRequests of cert-manager.io/v1: how they are written and what their conditions mean. Pure.

Source: cert-manager, pkg/apis/certmanager/v1/types_certificaterequest.go.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography import x509

from backends.cert_manager.settings import IssuerRef
from backends.kube_requests.kind import Manifest, Verdict, conditions, is_true, lasts_no_longer, words
from backends.kube_requests.text import decoded, encoded_csr

API = "cert-manager.io/v1"
KIND = "CertificateRequest"
# What istio-csr writes, and approvers and policies read.
IDENTITIES = "istio.cert-manager.io/identities"

# Source: Go, time.ParseDuration.
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ms|us|µs|ns|h|m|s)")
_GO_DURATION = re.compile(rf"(?:{_GO_PART.pattern})+")


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
        """Tell whether an existing request asks for the same, for no longer."""
        ours, theirs = wanted["spec"], existing.get("spec") or {}
        if not lasts_no_longer(go_seconds(theirs.get("duration")), go_seconds(ours["duration"]) or 0):
            return False
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


def go_seconds(text: object) -> float | None:
    """A duration as Go writes it, such as ``1h0m0s``, for cert-manager may rewrite ours. None for any other text."""
    if not isinstance(text, str) or len(text) > 60 or not _GO_DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _GO_PART.findall(text))


def _normal(key: str, value: Any) -> Any:
    """The API server leaves out what is false."""
    if key == "isCA":
        return bool(value)
    return sorted(value) if isinstance(value, list) else value
