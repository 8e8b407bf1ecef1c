"""Serving certificates in files, as cert-manager would keep them."""

from ipaddress import ip_address
from pathlib import Path

from cryptography import x509

from tests.server import cas
from tests.support.pki import changed, key, key_pem, leaf_extensions, make_ca, make_leaf, spki

DNS = "istio-signer.istio-system.svc"


def write_pair(directory: Path, name: str = "one") -> dict[str, object]:
    """Write ``tls.crt``, ``tls.key`` and ``root.pem``; returns the ``serving`` section that names them."""
    root = make_ca("serving root", window=cas.around_now())
    private = key(f"p256/serving {name}")
    names = x509.SubjectAlternativeName([x509.DNSName(DNS), x509.IPAddress(ip_address("127.0.0.1"))])
    extensions = changed(leaf_extensions(), (names, True))
    leaf = make_leaf(root, spki(private), extensions, window=cas.around_now())
    certificate = leaf.public_bytes(cas.Encoding.PEM)
    cas.put(directory, {"tls.key": key_pem(private), "tls.crt": certificate + root.pem, "root.pem": root.pem})
    return {"certificate_file": str(directory / "tls.crt"), "key_file": str(directory / "tls.key")}
