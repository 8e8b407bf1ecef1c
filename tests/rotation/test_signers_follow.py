"""What a signer makes of a rotation at its far side: the CA in memory is renewed, and no root is kept for ever."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from backends.cert_manager.settings import CertManagerSettings, ConfigMapRef, IssuerRef
from backends.cert_manager.spec import build as build_cert_manager
from backends.intermediate.minting import IntermediateSettings
from backends.vault import backend as vault_backend
from backends.vault import minter as vault_minter
from backends.vault.settings import VaultAuth, VaultIntermediateSettings, VaultSettings
from backends.vault.spec import build as build_vault
from signer.core.ports import Backend
from signer.core.spec import BackendContext
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.kube_backends.scene import CLOCK, REQUESTS, access, make_issuer, proven, request, running
from tests.rotation.scene import root_of
from tests.vault.mounts import policy_token, root_mount, second_issuer
from tests.vault.openbao import OpenBao

FOLLOW: Manifest = {
    "apiGroups": [""],
    "resources": ["configmaps"],
    "resourceNames": ["runtime"],
    "verbs": ["list", "watch"],
}
AT_ONCE = timedelta(0)
SHORT = 4


@pytest.fixture
def mount(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> str:
    """A mount, looked at more often than in life."""
    monkeypatch.setattr(vault_minter, "REFRESH_SECONDS", 0.2)
    monkeypatch.setattr(vault_backend, "REFRESH_SECONDS", 0.2)
    name = f"pki-{uuid.uuid4().hex[:8]}"
    root_mount(bao, name)
    return name


async def come(what: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Wait for something."""
    async with asyncio.timeout(seconds):
        while not await what():  # noqa: ASYNC110  the far side tells nobody
            await asyncio.sleep(0.05)


async def signs_under(backend: Backend, root: x509.Certificate) -> None:
    """Wait until leaves come under a root."""

    async def under() -> bool:
        chain = await proven(backend, request())
        return chain.intermediates[-1].issuer == root.subject if chain.intermediates else False

    await come(under)


async def shows_only(backend: Backend, root: x509.Certificate | None) -> None:
    """Wait until it vouches for one root, or for none."""
    wanted = () if root is None else (root,)

    async def alone() -> bool:
        return (await backend.issuer()).roots == wanted

    await come(alone)


async def test_vaults_ca_in_memory_is_renewed_after_the_switch(bao: OpenBao, mount: str, tmp_path: Path) -> None:
    path = f"{mount}/root/sign-intermediate"
    auth = VaultAuth("token", token_file=policy_token(bao, tmp_path, path))
    plan = VaultIntermediateSettings(sign_path=path, new_root_delay=AT_ONCE)
    settings = VaultSettings(bao.address, auth=auth, mode="intermediate", intermediate=plan)
    backend = build_vault(settings, BackendContext("vault", CLOCK))
    new = root_of(second_issuer(bao, mount, "next"))
    async with running(backend):
        first = (await proven(backend, request())).intermediates[0]
        await asyncio.sleep(1.0)
        assert (await proven(backend, request())).intermediates[0] == first, "nothing has changed"
        bao.call("POST", f"{mount}/config/issuers", {"default": "next"})
        await signs_under(backend, new)
        second = (await proven(backend, request())).intermediates[0]
        await asyncio.sleep(1.0)
        assert (await proven(backend, request())).intermediates[0] == second, "once is enough"


async def test_a_path_whose_issuer_is_never_shown_is_not_renewed_again_and_again(
    bao: OpenBao, mount: str, tmp_path: Path
) -> None:
    """The default issuer of the mount is another one, and changes: it has nothing to do with this CA."""
    second_issuer(bao, mount, "mesh")
    second_issuer(bao, mount, "other")
    path = f"{mount}/issuer/mesh/sign-intermediate"
    auth = VaultAuth("token", token_file=policy_token(bao, tmp_path, path))
    plan = VaultIntermediateSettings(sign_path=path, new_root_delay=AT_ONCE)
    settings = VaultSettings(bao.address, auth=auth, mode="intermediate", intermediate=plan)
    backend = build_vault(settings, BackendContext("vault", CLOCK))
    async with running(backend):
        first = (await proven(backend, request())).intermediates[0]
        bao.call("POST", f"{mount}/config/issuers", {"default": "other"})
        await asyncio.sleep(1.5)
        assert (await proven(backend, request())).intermediates[0] == first


async def test_a_replica_that_signs_nothing_more_vouches_for_no_old_root_of_vaults(
    bao: OpenBao, mount: str, tmp_path: Path
) -> None:
    path = f"{mount}/sign/istio-ca"
    auth = VaultAuth("token", token_file=policy_token(bao, tmp_path, path))
    backend = build_vault(VaultSettings(bao.address, path, auth), BackendContext("vault", CLOCK))
    new = root_of(second_issuer(bao, mount, "next"))
    async with running(backend):
        await proven(backend, request(ttl=SHORT))
        bao.call("POST", f"{mount}/config/issuers", {"default": "next"})
        await shows_only(backend, new)


@pytest.fixture
def settings(kube: Kube, namespace: str, tmp_path: Path) -> CertManagerSettings:
    """Of a backend whose ConfigMap names another issuer soon."""
    make_issuer(kube, namespace)
    kubeconfig = access(kube, tmp_path, namespace, REQUESTS, FOLLOW)
    place = ConfigMapRef("runtime", namespace)
    return CertManagerSettings(IssuerRef("mesh"), namespace, place, kubeconfig=kubeconfig)


def switch(kube: Kube, namespace: str) -> None:
    """Have the ConfigMap name the next issuer."""
    data = {"issuer-name": "next", "issuer-kind": "Issuer"}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "runtime"}, "data": data}, namespace)


async def test_cert_managers_ca_in_memory_is_renewed_after_the_switch(
    kube: Kube, namespace: str, settings: CertManagerSettings
) -> None:
    new = make_issuer(kube, namespace, "next").certificate
    plan = IntermediateSettings(new_root_delay=AT_ONCE)
    backend = build_cert_manager(replace(settings, mode="intermediate", intermediate=plan), BackendContext("cm", CLOCK))
    async with running(backend):
        await proven(backend, request())
        await asyncio.to_thread(switch, kube, namespace)
        await signs_under(backend, new)


async def test_a_replica_that_signs_nothing_more_vouches_for_no_old_root_of_cert_managers(
    kube: Kube, namespace: str, settings: CertManagerSettings
) -> None:
    """Of the next CA nothing is known before it signs."""
    make_issuer(kube, namespace, "next")
    backend = build_cert_manager(settings, BackendContext("cm", CLOCK))
    async with running(backend):
        await proven(backend, request(ttl=SHORT))
        await asyncio.to_thread(switch, kube, namespace)
        # cert-manager's Go durations and the leeway of clocks stand around the leaf's life.
        await shows_only(backend, None)
