"""CertificateSigningRequests approved through the real API and signed by a real controller."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from backends.kubernetes_csr.backend import KubernetesCsrBackend
from backends.kubernetes_csr.settings import KubernetesCsrSettings
from signer.core.errors import BackendRefused, BackendTimeout, BackendUnavailable
from signer.core.spec import BackendContext
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.poll import until
from tests.kube_backends.scene import CLOCK, access, make_issuer, proven, request, running
from tests.mesh.pki import pem

GROUP, PLURAL = "certificates.k8s.io", "certificatesigningrequests"
DOMAIN = "clusterissuers.cert-manager.io"
NewBackend = Callable[..., KubernetesCsrBackend]


def rules(signers: str) -> list[Manifest]:
    """What a backend that approves may do, and nothing else."""
    verbs = ["create", "get", "list", "watch", "delete", "deletecollection"]
    return [
        {"apiGroups": [GROUP], "resources": [PLURAL], "verbs": verbs},
        {"apiGroups": [GROUP], "resources": [f"{PLURAL}/approval"], "verbs": ["update"]},
        {"apiGroups": [GROUP], "resources": ["signers"], "resourceNames": [signers], "verbs": ["approve"]},
    ]


@pytest.fixture
def new_backend(kube: Kube, namespace: str, tmp_path: Path) -> NewBackend:
    """A function that makes a backend for a ClusterIssuer of the test's own."""
    ca = make_issuer(kube, namespace, namespace, "ClusterIssuer")
    kubeconfig = access(kube, tmp_path, namespace, *rules(f"{DOMAIN}/{namespace}"))
    (tmp_path / "roots.pem").write_text(pem(ca.certificate))

    def make(**more: object) -> KubernetesCsrBackend:
        given: dict[str, object] = {"signer_name": f"{DOMAIN}/{namespace}", "approve": True} | more
        settings = KubernetesCsrSettings(
            roots_file=tmp_path / "roots.pem",
            kubeconfig=kubeconfig,
            **given,  # type: ignore[arg-type]
        )
        return KubernetesCsrBackend(settings, BackendContext(namespace, CLOCK))

    return make


def left(kube: Kube, backend: str) -> list[str]:
    """The names of a backend's requests."""
    found = kube.list_all(
        "certificates.k8s.io/v1", "CertificateSigningRequest", "", f"istio-signer.io/backend={backend}"
    )
    return [item["metadata"]["name"] for item in found]


@pytest.mark.parametrize("key_type", ["p256", "rsa2048"])
async def test_approved_and_signed_leaves_pass_the_validator(
    kube: Kube, namespace: str, new_backend: NewBackend, key_type: str
) -> None:
    backend = new_backend()
    async with running(backend):
        await proven(backend, request(key_type))
        assert len(left(kube, namespace)) == 1
    assert left(kube, namespace) == []


async def test_the_callers_word_picks_the_signer_of_a_domain(namespace: str, new_backend: NewBackend) -> None:
    backend = new_backend(signer_name="", signer_domain=DOMAIN)
    async with running(backend):
        await proven(backend, request(signer_name=namespace))


@pytest.mark.parametrize("word", ["", "a/b", "UPPER", "x" * 64, "new\nline", "../signer", "é"])
async def test_a_word_that_is_no_label_is_refused_before_any_call(new_backend: NewBackend, word: str) -> None:
    backend = new_backend(signer_name="", signer_domain=DOMAIN)
    async with running(backend):
        with pytest.raises(BackendRefused, match="names no signer"):
            await backend.sign(request(signer_name=word))


async def test_less_than_the_apis_floor_is_refused_and_said(
    kube: Kube, namespace: str, new_backend: NewBackend
) -> None:
    backend = new_backend()
    async with running(backend):
        with pytest.raises(BackendRefused, match="signs for 600 s at least"):
            await backend.sign(request(ttl=300))
        assert left(kube, namespace) == []
        await proven(backend, request(ttl=600))


async def test_without_an_approver_it_is_a_timeout_that_says_so(new_backend: NewBackend) -> None:
    backend = new_backend(approve=False, timeout=timedelta(seconds=1))
    async with running(backend):
        with pytest.raises(BackendTimeout, match="nobody has approved it yet"):
            await backend.sign(request())


async def test_a_denial_is_a_refusal(kube: Kube, namespace: str, new_backend: NewBackend) -> None:
    backend = new_backend(approve=False)
    async with running(backend):
        signing = asyncio.create_task(backend.sign(request()))
        (name,) = await asyncio.to_thread(until, lambda: left(kube, namespace), deadline=10, what="the request")
        stored = kube.get("certificates.k8s.io/v1", "CertificateSigningRequest", name)
        denied = {"type": "Denied", "status": "True", "reason": "Policy", "message": "not for you"}
        stored["status"] = {"conditions": [denied]}
        path = kube.path("certificates.k8s.io/v1", "CertificateSigningRequest", name)
        kube.call("PUT", f"{path}/approval", stored)
        with pytest.raises(BackendRefused, match="Denied 'Policy' 'not for you'"):
            await signing


async def test_approving_for_another_signer_is_not_allowed_and_said(
    kube: Kube, namespace: str, new_backend: NewBackend
) -> None:
    backend = new_backend(signer_name=f"{DOMAIN}/somebody-elses")
    async with running(backend):
        with pytest.raises(BackendUnavailable, match=r"update certificatesigningrequests.*approval.*HTTP 403"):
            await backend.sign(request())
