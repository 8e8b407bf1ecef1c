"""CertificateSigningRequests of certificates.k8s.io/v1: how they are written and what their conditions mean. Pure.

Source: Kubernetes API reference, "CertificateSigningRequest".
"""

import copy
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from cryptography import x509

from backends.kube_requests.kind import Manifest, Verdict, conditions, is_true, lasts_no_longer, words
from backends.kube_requests.text import decoded, encoded_csr
from backends.kubernetes_csr.settings import FLOOR
from signer.core.errors import RefusedLocally

API = "certificates.k8s.io/v1"
KIND = "CertificateSigningRequest"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def signer_of(signer_name: str, domain: str, asked: str) -> str:
    """Name the signer: the fixed one, or the domain's by the caller's word.

    Raises:
        RefusedLocally: The caller's word is none, or no DNS label.
    """
    if signer_name:
        return signer_name
    if not _LABEL.fullmatch(asked):
        raise RefusedLocally(f"CertSigner {asked[:80]!a} names no signer of {domain}")
    return f"{domain}/{asked}"


def seconds_of(lifetime: timedelta) -> int:
    """The lifetime as the API takes it.

    Raises:
        RefusedLocally: It is under the API's floor. Asking for the floor instead would give a certificate that lives
            longer than anybody asked for.
    """
    seconds = round(lifetime.total_seconds())
    # A second may pass between the decision and this.
    if seconds < FLOOR.total_seconds() - 2:
        raise RefusedLocally(f"{seconds} s were asked for; the Kubernetes CSR API signs for {FLOOR.seconds} s at least")
    return min(max(seconds, FLOOR.seconds), 2**31 - 1)


def manifest(
    csr: x509.CertificateSigningRequest, signer: str, seconds: int, usages: Sequence[str], labels: Mapping[str, str]
) -> Manifest:
    """Write a request, without its name."""
    return {
        "apiVersion": API,
        "kind": KIND,
        "metadata": {"labels": dict(labels)},
        "spec": {
            "request": encoded_csr(csr),
            "signerName": signer,
            "expirationSeconds": seconds,
            "usages": list(usages),
        },
    }


class SigningRequests:
    """The kind; it has no namespace."""

    path = f"/apis/{API}/certificatesigningrequests"
    resource = "certificatesigningrequests.certificates.k8s.io"

    def __init__(self, approve: bool) -> None:
        self._approve = approve

    def same(self, existing: Manifest, wanted: Manifest) -> bool:
        """Tell whether an existing request asks for the same, for no longer."""
        ours, theirs = wanted["spec"], existing.get("spec") or {}
        same = all(theirs.get(key) == ours[key] for key in ("request", "signerName"))
        same = same and lasts_no_longer(theirs.get("expirationSeconds"), ours["expirationSeconds"])
        return same and sorted(theirs.get("usages") or []) == sorted(ours["usages"])

    def verdict(self, item: Manifest) -> Verdict:
        """Read the conditions; a certificate is there only once the signer has signed."""
        found = conditions(item)
        for condition in found:
            if is_true(condition, "Denied") or is_true(condition, "Failed"):
                return Verdict(refused=words(condition))
        certificate = decoded((item.get("status") or {}).get("certificate"))
        return Verdict(certificate=certificate, words=words(found[-1]) if found else "nobody has approved it yet")

    def approval(self, item: Manifest) -> Manifest | None:
        """The request with our approval, where it is ours to give and nobody has decided yet."""
        decided = any(c.get("type") in ("Approved", "Denied", "Failed") for c in conditions(item))
        if not self._approve or decided:
            return None
        body = copy.deepcopy(item)
        approved = {"type": "Approved", "status": "True", "reason": "IstioSigner", "message": "checked by istio-signer"}
        body.setdefault("status", {})["conditions"] = [*conditions(item), approved]
        return body
