"""The real cert-manager signs: CertificateRequests, which it approves itself, and approved Kubernetes CSRs."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.poll import until

SIGNING_LIMIT = 15.0
"""Seconds. It takes about 0.1."""


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_issuer_signs_a_certificate_request(kube: Kube, namespace: str, key: ec.EllipticCurvePrivateKey) -> None:
    root = _make_issuer(kube, "Issuer", "ca", namespace)
    spec = {
        "request": _csr(key),
        "duration": "1h",
        "issuerRef": {"name": "ca", "kind": "Issuer", "group": "cert-manager.io"},
    }
    [stored] = kube.apply(_manifest("cert-manager.io/v1", "CertificateRequest", "leaf", spec=spec), namespace)

    signed = kube.wait_condition(stored)

    _check(signed["status"]["certificate"], key, root)


def test_cluster_issuer_signs_an_approved_kubernetes_csr(
    kube: Kube, namespace: str, key: ec.EllipticCurvePrivateKey
) -> None:
    # Neither the issuer nor the request has a namespace; its name only keeps tests apart.
    root = _make_issuer(kube, "ClusterIssuer", namespace, "cert-manager")
    spec = {
        "request": _csr(key),
        "signerName": f"clusterissuers.cert-manager.io/{namespace}",
        "expirationSeconds": 3600,
        "usages": ["digital signature", "server auth", "client auth"],
    }
    _approve(kube, _manifest("certificates.k8s.io/v1", "CertificateSigningRequest", namespace, spec=spec))

    certificate = until(lambda: _issued(kube, namespace), deadline=SIGNING_LIMIT, what="the certificate")

    _check(certificate, key, root)


def _approve(kube: Kube, request: Manifest) -> None:
    [stored] = kube.apply(request)
    approved = {"type": "Approved", "status": "True", "reason": "Test", "message": "by a test"}
    stored["status"] = {"conditions": [approved]}
    path = kube.path("certificates.k8s.io/v1", "CertificateSigningRequest", stored["metadata"]["name"])
    kube.call("PUT", f"{path}/approval", stored)


def _issued(kube: Kube, name: str) -> str | None:
    stored = kube.get("certificates.k8s.io/v1", "CertificateSigningRequest", name)
    certificate: str | None = stored["status"].get("certificate")
    return certificate


def _check(encoded: str, key: ec.EllipticCurvePrivateKey, root: x509.Certificate) -> None:
    leaf = x509.load_pem_x509_certificates(base64.b64decode(encoded))[0]
    assert leaf.public_key() == key.public_key()
    leaf.verify_directly_issued_by(root)


def _make_issuer(kube: Kube, kind: str, name: str, secret_namespace: str) -> x509.Certificate:
    """Make a CA issuer with a new key and wait until cert-manager has accepted it."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = _root(key)
    content = {
        "tls.crt": root.public_bytes(Encoding.PEM).decode(),
        "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    manifests = [
        _manifest("v1", "Secret", f"{name}-ca", stringData=content),
        _manifest("cert-manager.io/v1", kind, name, spec={"ca": {"secretName": f"{name}-ca"}}),
    ]
    kube.wait_condition(kube.apply(manifests, secret_namespace)[1], deadline=SIGNING_LIMIT)
    return root


def _manifest(api_version: str, kind: str, name: str, **content: object) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **content}


def _root(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(hours=1))
    return builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())


def _csr(key: ec.EllipticCurvePrivateKey) -> str:
    san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/b")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(san, True)
    return base64.b64encode(csr.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)).decode()
