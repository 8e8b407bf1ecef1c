"""The ClusterTrustBundle of a real API server: made, kept, changed."""

import asyncio
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from signer.core.chain import TrustBundle
from signer.core.spiffe_bundle import document
from signer.kube.connect import connect
from signer.trust.distribution.cluster_bundle import ClusterBundle
from signer.trust.distribution.objects import TRUST_BUNDLE
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.rbac import account_kubeconfig
from tests.distribution.scene import Switchable, bundle, until
from tests.support.pki import make_ca

KIND = ("certificates.k8s.io/v1beta1", "ClusterTrustBundle")
RIGHTS: tuple[Manifest, ...] = (
    {
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["clustertrustbundles"],
        "verbs": ["create", "list", "watch", "patch"],
    },
    {
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["signers"],
        "verbs": ["attest"],
        "resourceNames": ["istio.io/istiod-ca"],
    },
)


def text(kube: Kube) -> str | None:
    """What it holds."""
    found = [b for b in kube.list_all(*KIND) if b["metadata"]["name"] == TRUST_BUNDLE]
    return str(found[0]["spec"]["trustBundle"]) if found else None


async def test_made_kept_and_changed(kube: Kube, namespace: str, tmp_path: Path) -> None:
    rights = account_kubeconfig(kube, tmp_path / "kubeconfig", f"{namespace}-signer", "signer", RIGHTS)
    wanted, api = [bundle("a")], await connect(rights)
    keeper = ClusterBundle(api, lambda: wanted[0], Switchable())
    work = asyncio.create_task(keeper.run())
    try:
        await until(lambda: text(kube) == wanted[0].pem, 5, "the object")
        wanted[0] = bundle("b", "c")
        keeper.bundle_changed()
        await until(lambda: text(kube) == wanted[0].pem, 5, "the change")
        await asyncio.to_thread(kube.delete, *KIND, TRUST_BUNDLE)
        await until(lambda: text(kube) == wanted[0].pem, 5, "the new one")
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await api.close()
        await asyncio.to_thread(kube.delete, *KIND, TRUST_BUNDLE)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_the_spiffe_document(kind: str) -> None:
    """Its numbers are the key's, and its certificate is the root (RFC 7518 section 6)."""
    root = make_ca("root", kind=kind).certificate
    (key,) = json.loads(document(TrustBundle.of([root])))["keys"]
    assert key["use"] == "x509-svid"
    assert [x509.load_der_x509_certificate(b64decode(c)) for c in key["x5c"]] == [root]
    assert _jwk_key(key) == root.public_key()


def _jwk_key(jwk: dict[str, Any]) -> object:
    from jwt import PyJWK

    return PyJWK.from_dict({**jwk, "alg": {"EC": "ES256", "RSA": "RS256"}[jwk["kty"]]}).key
