"""Every login against a real OpenBao, and what becomes of a token while it is in use."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from backends.vault.backend import VaultBackend
from backends.vault.retired import FAREWELL_SECONDS
from backends.vault.session import VaultSession
from backends.vault.settings import VaultAuth, VaultSettings
from signer.core.errors import BackendRefused, BackendUnavailable
from signer.core.events import BackendEvent
from signer.core.spec import BackendContext
from tests.cluster.api import Kube
from tests.cluster.kubeconfig import Access
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, grant
from tests.mesh.pki import Authority, ec_key, key_pem, pem
from tests.support.clock import FakeClock
from tests.unit.backends.intermediate.test_backend import Counting
from tests.vault.mounts import policy_token, root_mount
from tests.vault.openbao import OpenBao
from tests.vault.test_signing import CLOCK, proven, request

PATH = "pki/sign/istio-ca"
POLICY = json.dumps({"path": {PATH: {"capabilities": ["create", "update"]}}})


@pytest.fixture(scope="module")
def policy(shared: OpenBao) -> str:
    """The policy that lets its owner sign, by name."""
    shared.call("PUT", "sys/policies/acl/istio-ca", {"policy": POLICY})
    return "istio-ca"


async def signs(server: OpenBao, auth: VaultAuth, meter: Counting | None = None, **more: object) -> None:
    """Log in by a method, and sign."""
    settings = replace(VaultSettings(server.address, PATH, auth), **more)  # type: ignore[arg-type]
    backend = VaultBackend(settings, BackendContext("vault", CLOCK, meter=meter or Counting()))
    await backend.start()
    try:
        await proven(backend, request())
        await backend.probe()
    finally:
        await backend.close()


def approle(server: OpenBao, policy: str, folder: Path, mount: str) -> VaultAuth:
    """A login by role and secret, at a mount of its own."""
    server.call("POST", f"sys/auth/{mount}", {"type": "approle"})
    server.call("POST", f"auth/{mount}/role/signer", {"token_policies": [policy], "token_ttl": "1h"})
    role_id = server.call("GET", f"auth/{mount}/role/signer/role-id")["data"]["role_id"]
    secret = server.call("POST", f"auth/{mount}/role/signer/secret-id")["data"]["secret_id"]
    # A file that an editor has saved ends in a line feed.
    (folder / "secret").write_text(secret + "\n")
    return VaultAuth("approle", mount=mount, role_id=role_id, secret_id_file=folder / "secret")


def kubernetes_auth(server: OpenBao, cluster: Cluster, kube: Kube, namespace: str) -> None:
    """Have OpenBao judge tokens by the real API server, each by the token's own right to a review."""
    access = Access.load(cluster.kubeconfig)
    authority = cluster.ca_file.read_text()
    if "kubernetes/" not in server.call("GET", "sys/auth"):
        server.call("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    reviewer = kube.service_account_token(namespace, "reviewer", ())
    config = {"kubernetes_host": access.server, "kubernetes_ca_cert": authority, "token_reviewer_jwt": reviewer}
    server.call("POST", "auth/kubernetes/config", config)


async def test_approle(shared: OpenBao, policy: str, tmp_path: Path) -> None:
    await signs(shared, approle(shared, policy, tmp_path, "approle"))


async def test_jwt_of_the_clusters_own_issuer(
    shared: OpenBao, policy: str, cluster: Cluster, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    key = load_pem_private_key(cluster.service_account_key.read_bytes(), None).public_key()
    public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    shared.call("POST", "sys/auth/jwt", {"type": "jwt"})
    shared.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public]})
    subject = f"system:serviceaccount:{namespace}:istio-signer"
    role = {"role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "bound_subject": subject}
    shared.call("POST", "auth/jwt/role/signer", {**role, "token_policies": [policy], "token_ttl": "1h"})
    kube.create_service_account(namespace, "istio-signer")
    (tmp_path / "token").write_text(kube.service_account_token(namespace, "istio-signer", ("vault",)))
    await signs(shared, VaultAuth("jwt", role="signer", token_file=tmp_path / "token"))


async def test_client_certificate(policy: str, tmp_path: Path) -> None:
    authority = Authority.root("vault tls")
    certificate, key = _pair(tmp_path, authority, "server")
    client = _pair(tmp_path, authority, "client")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(pem(authority.certificate))
    with OpenBao(tmp_path / "openbao", certificate=(certificate, key), ca_file=ca_file) as server:
        root_mount(server)
        server.call("PUT", "sys/policies/acl/istio-ca", {"policy": POLICY})
        server.call("POST", "sys/auth/cert", {"type": "cert"})
        role = {"certificate": pem(authority.certificate), "token_policies": ["istio-ca"], "token_ttl": "1h"}
        server.call("POST", "auth/cert/certs/signer", role)
        auth = VaultAuth("cert", role="signer", certificate_file=client[0], key_file=client[1])
        await signs(server, auth, ca_file=ca_file)
        with pytest.raises(BackendUnavailable, match="certificate is not trusted"):
            await signs(server, auth)
        # Another name than the certificate's is not taken for the server's.
        host = urlsplit(server.address).port
        with pytest.raises(BackendUnavailable, match="certificate is not trusted"):
            await signs(server, auth, ca_file=ca_file, address=f"https://localhost:{host}")


def _pair(folder: Path, authority: Authority, name: str) -> tuple[Path, Path]:
    """The files of a certificate for 127.0.0.1 and of its key. OpenBao names the entity after its common name."""
    key, subject = ec_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = (
        x509.CertificateBuilder(authority.certificate.subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(CLOCK.now() - timedelta(minutes=1))
        .not_valid_after(CLOCK.now() + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}-key.pem"
    files[0].write_text(pem(signed))
    files[1].write_text(key_pem(key))
    return files


async def test_a_revoked_token_costs_a_login_and_no_request(shared: OpenBao, policy: str, tmp_path: Path) -> None:
    meter, auth = Counting(), approle(shared, policy, tmp_path, "ar2")
    backend = VaultBackend(VaultSettings(shared.address, PATH, auth), BackendContext("vault", CLOCK, meter=meter))
    await backend.start()
    shared.call("POST", "sys/leases/revoke-prefix/auth/ar2/login")
    await asyncio.gather(*(proven(backend, request()) for _ in range(8)))
    assert meter.events == [BackendEvent.LOGIN, BackendEvent.LOGIN]
    await backend.close()


def alive(server: OpenBao, mount: str) -> int:
    """How many tokens of that login live."""
    try:
        return len(server.call("LIST", f"sys/leases/lookup/auth/{mount}/login")["data"]["keys"])
    except RuntimeError as error:
        if "404" not in str(error):
            raise
        return 0


async def test_a_policy_against_us_costs_a_login_at_most_now_and_then(shared: OpenBao, tmp_path: Path) -> None:
    """Every refusal might be the token's fault; a token for each would fill Vault with them."""
    meter, auth = Counting(), approle(shared, "default", tmp_path, "ar4")
    backend = VaultBackend(VaultSettings(shared.address, PATH, auth), BackendContext("vault", CLOCK, meter=meter))
    await backend.start()
    for _ in range(20):
        with pytest.raises(BackendRefused, match="HTTP 403"):
            await backend.sign(request())
    assert meter.events.count(BackendEvent.LOGIN) <= 3
    await backend.close()
    assert alive(shared, "ar4") == 0


async def test_a_token_that_was_replaced_is_given_back_once_nobody_uses_it(
    shared: OpenBao, policy: str, tmp_path: Path
) -> None:
    clock, auth = FakeClock(), approle(shared, policy, tmp_path, "ar5")
    session = VaultSession(VaultSettings(shared.address, PATH, auth), BackendContext("vault", clock))
    first = await session.token()
    assert session.rejected(first)
    assert await session.token() != first
    assert alive(shared, "ar5") == 2, "a call may still carry the first"
    clock.advance(FAREWELL_SECONDS)
    work = asyncio.create_task(session.run())
    await asyncio.to_thread(until, lambda: alive(shared, "ar5") == 1, deadline=5, what="the first to be given back")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await session.close()
    assert alive(shared, "ar5") == 0


async def test_a_login_under_way_at_the_end_leaves_no_token(shared: OpenBao, policy: str, tmp_path: Path) -> None:
    auth = approle(shared, policy, tmp_path, "ar6")
    session = VaultSession(VaultSettings(shared.address, PATH, auth), BackendContext("vault", CLOCK))
    shared.pause()
    try:
        waiting = asyncio.create_task(session.token())
        await asyncio.sleep(0.2)
        waiting.cancel()
        closing = asyncio.create_task(session.close())
        await asyncio.sleep(0.2)
    finally:
        shared.resume()
    await closing
    assert alive(shared, "ar6") == 0
    with pytest.raises(BackendUnavailable, match="the backend is closed"):
        await session.token()
    assert alive(shared, "ar6") == 0


async def test_many_waiters_share_one_login_and_one_may_leave(shared: OpenBao, policy: str, tmp_path: Path) -> None:
    meter, auth = Counting(), approle(shared, policy, tmp_path, "ar7")
    session = VaultSession(VaultSettings(shared.address, PATH, auth), BackendContext("vault", CLOCK, meter=meter))
    waiters = [asyncio.create_task(session.token()) for _ in range(8)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    tokens = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(tokens[0], asyncio.CancelledError)
    assert len({id(token) for token in tokens[1:]}) == 1
    assert meter.events == [BackendEvent.LOGIN]
    await session.close()


async def test_a_lease_is_renewed_at_two_thirds_and_signing_never_stops(shared: OpenBao, tmp_path: Path) -> None:
    meter = Counting()
    token = policy_token(shared, tmp_path, PATH, ttl="6s", period="6s")
    auth = VaultAuth("token", token_file=token)
    backend = VaultBackend(VaultSettings(shared.address, PATH, auth), BackendContext("vault", CLOCK, meter=meter))
    await backend.start()
    work = asyncio.create_task(backend.run())
    for _ in range(16):
        await proven(backend, request())
        await asyncio.sleep(0.5)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await backend.close()
    assert BackendEvent.LEASE_RENEWED in meter.events
    assert meter.events.count(BackendEvent.LOGIN) == 1


async def test_tokens_of_logins_are_given_back(shared: OpenBao, policy: str, tmp_path: Path) -> None:
    await signs(shared, approle(shared, policy, tmp_path, "ar3"))
    assert alive(shared, "ar3") == 0


async def test_a_login_that_fails_is_said_once_and_not_tried_in_a_loop(
    shared: OpenBao, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text("s.wrong")
    meter = Counting()
    auth = VaultAuth("token", token_file=tmp_path / "token")
    settings = VaultSettings(shared.address, PATH, auth, timeout=timedelta(seconds=2))
    backend = VaultBackend(settings, BackendContext("vault", CLOCK, meter=meter))
    await backend.start()
    for _ in range(20):
        with pytest.raises(BackendUnavailable, match="login by token"):
            await backend.sign(request())
    assert meter.events.count(BackendEvent.LOGIN_FAILED) <= 2
    assert caplog.text.count("login by token") == 1
    assert "s.wrong" not in caplog.text
    await backend.close()


async def test_the_real_api_server_vouches_for_a_pods_token(
    shared: OpenBao, policy: str, cluster: Cluster, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    kube.create_service_account(namespace, "reviewer")
    grant(kube, namespace, "reviewer", (CREATE_TOKEN_REVIEWS,))
    kubernetes_auth(shared, cluster, kube, namespace)
    bound = {"bound_service_account_names": ["istio-signer"], "bound_service_account_namespaces": [namespace]}
    shared.call("POST", "auth/kubernetes/role/istio-ca", {**bound, "policies": [policy], "ttl": "1h"})
    kube.create_service_account(namespace, "istio-signer")
    (tmp_path / "token").write_text(kube.service_account_token(namespace, "istio-signer", ()))
    await signs(shared, VaultAuth("kubernetes", role="istio-ca", token_file=tmp_path / "token"))
    kube.create_service_account(namespace, "stranger")
    (tmp_path / "token").write_text(kube.service_account_token(namespace, "stranger", ()))
    with pytest.raises(BackendUnavailable, match="login by kubernetes at auth/kubernetes: Forbidden"):
        await signs(shared, VaultAuth("kubernetes", role="istio-ca", token_file=tmp_path / "token"))
