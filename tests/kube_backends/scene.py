"""What these tests need of a cluster: issuers with CAs, accounts with exactly the rights of a backend, requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from signer.client.workload import new_csr
from signer.core.chain import TrustBundle, VerifiedChain
from signer.core.csr import parse_csr
from signer.core.csr_rules import check_csr
from signer.core.identity import SpiffeId
from signer.core.ports import Backend
from signer.core.types import SigningRequest
from signer.core.validity import Validity
from signer.core.verify import ChainVerifier
from signer.runtime.clock import SystemClock
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.rbac import account_kubeconfig
from tests.mesh.pki import Authority, key_pem, pem

CLOCK = SystemClock()
IDENTITY = SpiffeId.parse("spiffe://cluster.local/ns/payments/sa/api")
REQUESTS: Manifest = {
    "apiGroups": ["cert-manager.io"],
    "resources": ["certificaterequests"],
    "verbs": ["create", "get", "list", "watch", "delete", "deletecollection"],
}


def request(key_type: str = "p256", ttl: int = 3600, signer_name: str = "") -> SigningRequest:
    """A workload's request as of now, with a key of its own."""
    now = CLOCK.now().replace(microsecond=0)
    checked = check_csr(parse_csr(new_csr(IDENTITY, key_type).csr), IDENTITY)
    validity = Validity(now, now + timedelta(seconds=ttl), ttl)
    return SigningRequest("r-1", IDENTITY, checked, validity, signer_name)


def make_issuer(
    kube: Kube, namespace: str, name: str = "mesh", kind: str = "Issuer", authority: Authority | None = None
) -> Authority:
    """Make a CA issuer, or give one another CA, and wait until cert-manager has accepted it."""
    ca = Authority.root(f"{name} root")
    place = namespace if kind == "Issuer" else "cert-manager"
    content = {"tls.crt": pem(ca.certificate), "tls.key": key_pem(ca.key)}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{name}-ca"}, "stringData": content}
    issuer: dict[str, Any] = {"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": {"name": name}}
    stored = kube.apply([secret, {**issuer, "spec": {"ca": {"secretName": f"{name}-ca"}}}], place)
    kube.wait_condition(stored[1], deadline=15)
    return ca


def access(kube: Kube, folder: Path, namespace: str, *rules: Manifest) -> Path:
    """A kubeconfig of an account with exactly these rights, in all namespaces."""
    return account_kubeconfig(kube, folder / "kubeconfig", namespace, "signer", rules or (REQUESTS,))


@asynccontextmanager
async def running(backend: Backend) -> AsyncIterator[None]:
    """Have a backend started and at work."""
    await backend.start()
    work = asyncio.create_task(backend.run())
    try:
        yield
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await backend.close()


async def proven(backend: Backend, asked: SigningRequest) -> VerifiedChain:
    """Sign, and verify as the pipeline does."""
    issued = await backend.sign(asked)
    bundle = TrustBundle.of((await backend.issuer()).roots)
    return ChainVerifier().verify(issued, asked, bundle, CLOCK.now())


def left(kube: Kube, namespace: str) -> list[str]:
    """The names of all CertificateRequests in a namespace."""
    found = kube.list_all("cert-manager.io/v1", "CertificateRequest", namespace)
    return [item["metadata"]["name"] for item in found]
