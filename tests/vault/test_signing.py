"""Signatures by a real OpenBao: what comes back passes the validator, whatever signs and however CSRs look."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from backends.vault.backend import VaultBackend
from backends.vault.settings import VaultAuth, VaultIntermediateSettings, VaultSettings
from backends.vault.spec import build
from signer.client.workload import new_csr
from signer.core.chain import TrustBundle, VerifiedChain
from signer.core.csr import parse_csr
from signer.core.csr_rules import check_csr
from signer.core.errors import BackendRefused, BackendTimeout, BackendUnavailable, ChainRejected
from signer.core.spec import BackendContext
from signer.core.types import SigningRequest
from signer.core.validity import Validity
from signer.core.verify import ChainVerifier
from signer.runtime.clock import SystemClock
from tests.corpus.build import IDENTITY
from tests.mesh.pki import ec_key
from tests.vault.mounts import ISTIO_ROLE, policy_token, root_mount, second_issuer
from tests.vault.openbao import OpenBao

CLOCK = SystemClock()


def request(key_type: str = "p256", ttl: int = 3600, csr: str = "") -> SigningRequest:
    """A workload's request as of now."""
    now = CLOCK.now().replace(microsecond=0)
    checked = check_csr(parse_csr(csr or new_csr(IDENTITY, key_type).csr), IDENTITY)
    return SigningRequest("r-1", IDENTITY, checked, Validity(now, now + timedelta(seconds=ttl), ttl))


@asynccontextmanager
async def opened(
    server: OpenBao, token: Path, path: str = "pki/sign/istio-ca", **more: object
) -> AsyncIterator[VaultBackend]:
    """A backend that is ready."""
    auth = VaultAuth("token", token_file=token)
    settings = replace(VaultSettings(server.address, path, auth), **more)  # type: ignore[arg-type]
    backend = VaultBackend(settings, BackendContext("vault", CLOCK))
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


async def proven(backend: VaultBackend, asked: SigningRequest) -> VerifiedChain:
    """Sign, and verify as the pipeline does."""
    issued = await backend.sign(asked)
    bundle = TrustBundle.of((await backend.issuer()).roots)
    return ChainVerifier().verify(issued, asked, bundle, CLOCK.now())


@pytest.mark.parametrize("key_type", ["p256", "p384", "rsa2048"])
@pytest.mark.parametrize(("mount", "intermediates"), [("pki", 0), ("pki_int", 1)])
async def test_leaves_pass_the_validator(
    shared: OpenBao, tmp_path: Path, mount: str, intermediates: int, key_type: str
) -> None:
    path = f"{mount}/sign/istio-ca"
    async with opened(shared, policy_token(shared, tmp_path, path), path) as backend:
        chain = await proven(backend, request(key_type))
    assert len(chain.intermediates) == intermediates


async def test_verbatim(shared: OpenBao, tmp_path: Path) -> None:
    path = "pki/sign-verbatim"
    async with opened(shared, policy_token(shared, tmp_path, path), path) as backend:
        await proven(backend, request())


def names_not_critical() -> str:
    """A CSR as ztunnel's library makes it: no subject, and the SAN not marked critical."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(IDENTITY))])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(ec_key(), hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii")


async def test_a_role_marks_names_critical_and_verbatim_does_not(shared: OpenBao, tmp_path: Path) -> None:
    async with opened(shared, policy_token(shared, tmp_path, "pki/sign/istio-ca")) as backend:
        chain = await proven(backend, request(csr=names_not_critical()))
        assert chain.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    path = "pki/sign-verbatim"
    async with opened(shared, policy_token(shared, tmp_path, path), path) as backend:
        with pytest.raises(ChainRejected, match="subjectAltName not critical"):
            await proven(backend, request(csr=names_not_critical()))


async def test_the_window_is_known_before_the_first_signature(shared: OpenBao, tmp_path: Path) -> None:
    path = "pki_int/sign/istio-ca"
    async with opened(shared, policy_token(shared, tmp_path, path), path) as backend:
        before = await backend.issuer()
        await proven(backend, request())
        after = await backend.issuer()
    assert before.window is not None
    assert (before.window, before.roots) == (after.window, after.roots)


async def test_a_mount_without_its_root_takes_it_from_a_file(shared: OpenBao, tmp_path: Path) -> None:
    chain = shared.call("GET", "pki/cert/ca")["data"]["certificate"]
    (tmp_path / "roots.pem").write_text(chain)
    async with opened(
        shared, policy_token(shared, tmp_path, "pki/sign/istio-ca"), roots_file=tmp_path / "roots.pem"
    ) as backend:
        await proven(backend, request())
        assert len((await backend.issuer()).roots) == 1


async def test_the_roles_refusal_is_told_in_vaults_words(new_server: Callable[[], OpenBao], tmp_path: Path) -> None:
    server = new_server()
    root_mount(server, "other", allowed_uri_sans=[])
    path = "other/sign/istio-ca"
    async with opened(server, policy_token(server, tmp_path, path), path) as backend:
        with pytest.raises(BackendRefused, match=r"HTTP 400: .*URI Subject Alternative Names"):
            await backend.sign(request())


async def test_a_policy_that_does_not_allow_it_is_a_refusal(shared: OpenBao, tmp_path: Path) -> None:
    async with opened(shared, policy_token(shared, tmp_path, "other/path"), "pki/sign/istio-ca") as backend:
        with pytest.raises(BackendRefused, match=r"HTTP 403: .*permission denied.*check --live"):
            await backend.sign(request())


async def test_sealed_killed_frozen_and_well_again(new_server: Callable[[], OpenBao], tmp_path: Path) -> None:
    server = new_server()
    token = policy_token(server, tmp_path, "pki/sign/istio-ca")
    async with opened(server, token, timeout=timedelta(seconds=1)) as backend:
        server.seal()
        with pytest.raises(BackendUnavailable, match="HTTP 503, it is sealed"):
            await backend.sign(request())
        with pytest.raises(BackendUnavailable, match="sealed"):
            await backend.probe()
        server.unseal()
        await proven(backend, request())
        server.kill()
        with pytest.raises(BackendUnavailable, match="no connection to Vault"):
            await backend.sign(request())
        server.start()
        await proven(backend, request())
        server.pause()
        with pytest.raises(BackendTimeout, match="no answer within 1 s"):
            await backend.sign(request())
        server.resume()
        await proven(backend, request())
        await backend.probe()


async def test_a_changed_ca_is_learnt_with_the_answer_that_it_signs(
    new_server: Callable[[], OpenBao], tmp_path: Path
) -> None:
    server = new_server()
    told: list[str] = []
    async with opened(server, policy_token(server, tmp_path, "pki/sign/istio-ca")) as backend:
        first = await proven(backend, request())
        backend.on_change(lambda: told.append("changed"))
        made = server.call("POST", "pki/root/rotate/internal", {"common_name": "second", "ttl": "8760h"})["data"]
        server.call("POST", "pki/config/issuers", {"default": made["issuer_id"]})
        second = await proven(backend, request())
        roots = (await backend.issuer()).roots
    assert first.leaf.issuer != second.leaf.issuer
    assert (len(roots), told) == (2, ["changed"])
    assert x509.load_pem_x509_certificate(made["certificate"].encode()) in roots


@pytest.mark.parametrize("path", ["issuer/mesh/sign/istio-ca", "issuer/mesh/sign-verbatim"])
async def test_where_the_path_names_an_issuer_only_its_root_is_believed(
    shared: OpenBao, tmp_path: Path, path: str
) -> None:
    mount = f"named-{path.rsplit('/', 1)[1]}"
    root_mount(shared, mount)
    chosen = x509.load_pem_x509_certificate(second_issuer(shared, mount, "mesh").encode())
    async with opened(shared, policy_token(shared, tmp_path, f"{mount}/{path}"), f"{mount}/{path}") as backend:
        before = await backend.issuer()
        await proven(backend, request())
        after = await backend.issuer()
    assert (before.roots, before.window) == ((chosen,), (chosen.not_valid_before_utc, chosen.not_valid_after_utc))
    assert (after.roots, after.window) == (before.roots, before.window)


async def test_where_the_role_names_an_issuer_the_default_ones_root_goes_with_the_first_signature(
    shared: OpenBao, tmp_path: Path
) -> None:
    root_mount(shared, "by-role", issuer_ref="mesh")
    chosen = x509.load_pem_x509_certificate(second_issuer(shared, "by-role", "mesh").encode())
    path = "by-role/sign/istio-ca"
    async with opened(shared, policy_token(shared, tmp_path, path), path) as backend:
        await proven(backend, request())
        # The mount is asked again, and shows its default one.
        await backend.start()
        assert (await backend.issuer()).roots == (chosen,)


async def test_an_intermediate_may_live_as_long_as_the_issuer_that_signs_it(shared: OpenBao, tmp_path: Path) -> None:
    """Not as the mount's default one: that ends within the hour here."""
    shared.call("POST", "sys/mounts/short", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
    ending = {"common_name": "short root", "ttl": "1h", "key_type": "ec", "key_bits": 256}
    shared.call("POST", "short/root/generate/internal", ending)
    second_issuer(shared, "short", "mesh")
    path = "short/issuer/mesh/sign-intermediate"
    auth = VaultAuth("token", token_file=policy_token(shared, tmp_path, path))
    plan = VaultIntermediateSettings(sign_path=path)
    settings = VaultSettings(shared.address, auth=auth, mode="intermediate", intermediate=plan)
    backend = build(settings, BackendContext("vault", CLOCK))
    await backend.start()
    try:
        window = (await backend.issuer()).window
    finally:
        await backend.close()
    assert window is not None
    assert window[1] - CLOCK.now() > timedelta(hours=23)


async def test_nothing_secret_is_said(shared: OpenBao, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = policy_token(shared, tmp_path, "other/path")
    asked = request()
    async with opened(shared, token) as backend:
        with pytest.raises(BackendRefused) as caught:
            await backend.sign(asked)
    pem = asked.csr.parsed.request.public_bytes(Encoding.PEM).decode()
    said = caplog.text + caught.value.reason
    assert token.read_text() not in said
    assert pem.splitlines()[1] not in said


async def test_a_namespace_of_its_own(shared: OpenBao, tmp_path: Path) -> None:
    """Mount, role, policy and token all live in the namespace; nothing of the same name outside of it signs."""
    shared.call("POST", "sys/namespaces/mesh", {})
    shared.call("POST", "mesh/sys/mounts/inner", {"type": "pki"})
    shared.call("POST", "mesh/inner/root/generate/internal", {"common_name": "inner root", "ttl": "8760h"})
    shared.call("POST", "mesh/inner/roles/istio-ca", ISTIO_ROLE)
    policy = 'path "inner/sign/istio-ca" { capabilities = ["create", "update"] }'
    shared.call("PUT", "mesh/sys/policies/acl/signer", {"policy": policy})
    made = shared.call("POST", "mesh/auth/token/create", {"policies": ["signer"], "ttl": "1h"})
    (tmp_path / "token").write_text(made["auth"]["client_token"])
    async with opened(shared, tmp_path / "token", "inner/sign/istio-ca", namespace="mesh") as backend:
        chain = await proven(backend, request())
        await backend.probe()
    assert "inner root" in chain.leaf.issuer.rfc4514_string()
