"""`check --live` against a real OpenBao: each command that it prints mends what it names and nothing else."""

import asyncio
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import hvac
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from backends.vault.live import TOKEN_VARIABLE, check_live
from backends.vault.settings import VaultAuth, VaultIntermediateSettings, VaultSettings
from backends.vault.spec import SPEC
from signer.core.spec import BackendContext, Finding, NoAnswer
from signer.core.types import ServerNames
from tests.mesh.pki import Authority, pem
from tests.vault.mounts import ISTIO_ROLE, policy_token, root_mount, second_issuer
from tests.vault.openbao import OpenBao
from tests.vault.test_signing import CLOCK

CONTEXT = BackendContext("vault", CLOCK)
SERVING = ServerNames(("istio-signer.istio-system.svc",))
SERVES = replace(CONTEXT, serving=SERVING)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "backends.md"
URL = "http://crl.example/pki.crl"


def look(settings: VaultSettings, context: BackendContext = CONTEXT) -> list[Finding]:
    """What it has to say that is not well."""
    return [found for found in asyncio.run(check_live(settings, context)) if found.level != "ok"]


def run(server: OpenBao, command: str) -> None:
    """Paste a command into the shell of Vault's operator."""
    subprocess.run(["/bin/sh", "-ec", command], env=server.environment(), check=True, timeout=30, capture_output=True)


@pytest.fixture
def operator(shared: OpenBao, monkeypatch: pytest.MonkeyPatch) -> OpenBao:
    """The server, with its operator's token in the environment."""
    monkeypatch.setenv(TOKEN_VARIABLE, shared.root_token)
    return shared


def test_inside_a_namespace_health_is_asked_of_the_root(shared: OpenBao, tmp_path: Path) -> None:
    shared.call("POST", "sys/namespaces/checked", {})
    made = shared.call("POST", "checked/auth/token/create", {"policies": ["default"], "ttl": "1h"})
    (tmp_path / "token").write_text(made["auth"]["client_token"])
    auth = VaultAuth("token", token_file=tmp_path / "token")
    found = look(VaultSettings(shared.address, "pki/sign/istio-ca", auth, namespace="checked"))
    assert [f.text for f in found if f.where.endswith("address")] == []


def test_the_issuers_fix_leaves_its_other_fields_alone(operator: OpenBao, tmp_path: Path) -> None:
    root_mount(operator, "aia")
    operator.call("POST", "aia/issuer/default", {"issuer_name": "mesh", "crl_distribution_points": [URL]})
    token = policy_token(operator, tmp_path, "aia/sign/istio-ca")
    settings = VaultSettings(operator.address, "aia/sign/istio-ca", VaultAuth("token", token_file=token))
    (found,) = look(settings)
    assert "leaf_not_after_behavior" in found.text
    run(operator, found.fix)
    assert look(settings) == []
    issuer = operator.call("GET", "aia/issuer/default")["data"]
    assert (issuer["issuer_name"], issuer["crl_distribution_points"]) == ("mesh", [URL])


@pytest.mark.parametrize("by", ["path", "role"])
def test_the_issuer_that_signs_is_judged_not_the_default_one(operator: OpenBao, tmp_path: Path, by: str) -> None:
    mount = f"judged-by-{by}"
    root_mount(operator, mount, **({"issuer_ref": "mesh"} if by == "role" else {}))
    second_issuer(operator, mount, "mesh")
    path = f"{mount}/sign/istio-ca" if by == "role" else f"{mount}/issuer/mesh/sign/istio-ca"
    token = policy_token(operator, tmp_path, path)
    settings = VaultSettings(operator.address, path, VaultAuth("token", token_file=token))
    (found,) = look(settings)
    assert found.text.startswith(f"{mount}/issuer/mesh: leaf_not_after_behavior")
    run(operator, found.fix)
    assert look(settings) == []


def kubernetes_mount(server: OpenBao, mount: str, **more: object) -> dict[str, object]:
    """A login by tokens of a cluster that is not there; its configuration."""
    authority = pem(Authority.root("kubernetes").certificate)
    config = {"kubernetes_host": "https://127.0.0.1:1", "kubernetes_ca_cert": authority, "disable_local_ca_jwt": True}
    server.call("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
    server.call("POST", f"auth/{mount}/config", {**config, **more})
    return config


def test_the_reviewers_fix_keeps_the_rest_of_the_login(operator: OpenBao, tmp_path: Path) -> None:
    mount = "kube-live"
    config = kubernetes_mount(operator, mount, token_reviewer_jwt="e30.e30.c2ln")
    (tmp_path / "token").write_text("e30.e30.c2ln")
    auth = VaultAuth("kubernetes", mount=mount, role="signer", token_file=tmp_path / "token")
    settings = VaultSettings(operator.address, "pki/sign/istio-ca", auth)
    (found,) = (f for f in look(settings) if "token_reviewer_jwt" in f.text)
    run(operator, found.fix)
    assert [f for f in look(settings) if "token_reviewer_jwt" in f.text] == []
    kept = operator.call("GET", f"auth/{mount}/config")["data"]
    assert {key: kept[key] for key in config} == config


PATHS = {"direct": "pki/sign/istio-ca", "intermediate": "pki/root/sign-intermediate"}


def settings_of(server: OpenBao, mode: str, token: Path) -> VaultSettings:
    """Of either mode."""
    auth, plan = VaultAuth("token", token_file=token), VaultIntermediateSettings(sign_path=PATHS["intermediate"])
    direct = VaultSettings(server.address, PATHS["direct"], auth)
    return direct if mode == "direct" else replace(direct, mode="intermediate", intermediate=plan)


@pytest.mark.parametrize("mode", PATHS)
def test_a_policy_that_lacks_the_signing_path_is_found_and_mended(operator: OpenBao, tmp_path: Path, mode: str) -> None:
    """By the signer's own token, whatever the operator's may do; what else the policy allows stays."""
    settings = settings_of(operator, mode, policy_token(operator, tmp_path))
    operator.cli("policy", "write", "signer", "-", stdin='path "other/path" { capabilities = ["read"] }')
    (found,) = (f for f in look(settings) if "no policy of this login" in f.text)
    assert (found.level, found.where) == ("error", f"backends.vault.{settings.path_key}")
    run(operator, found.fix)
    assert not any("no policy" in f.text for f in look(settings))
    policy = operator.call("GET", "sys/policies/acl/signer")["data"]["policy"]
    assert "other/path" in policy
    assert PATHS[mode] in policy


def test_a_login_that_may_not_even_ask_is_not_blamed(shared: OpenBao, tmp_path: Path) -> None:
    token = policy_token(shared, tmp_path, PATHS["direct"], no_default_policy=True)
    assert not any("policy" in f.text for f in look(settings_of(shared, "direct", token)))


def kubernetes_login(server: OpenBao, token: Path) -> VaultSettings:
    """Settings whose login a mount judges that knows no such role."""
    if "kube-refuses/" not in server.call("GET", "sys/auth"):
        kubernetes_mount(server, "kube-refuses")
    auth = VaultAuth("kubernetes", mount="kube-refuses", role="signer", token_file=token)
    return VaultSettings(server.address, "pki/sign/istio-ca", auth)


def test_a_refused_login_gives_the_command_and_says_what_it_replaces(shared: OpenBao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("e30.e30.c2ln")
    (found,) = look(kubernetes_login(shared, tmp_path / "token"))
    assert (type(found), "replaced whole" in found.text) == (Finding, True)
    assert found.fix.startswith("vault write auth/kube-refuses/role/signer ")


def test_a_login_that_fails_here_gives_no_command(shared: OpenBao, tmp_path: Path) -> None:
    """It would replace a role that is right."""
    (found,) = look(kubernetes_login(shared, tmp_path / "missing"))
    assert (type(found), found.fix, "cannot be read" in found.text) == (Finding, "", True)


FAILURES: list[tuple[Exception, type[Finding]]] = [
    (requests.ConnectionError(), NoAnswer),
    (requests.Timeout(), NoAnswer),
    (hvac.exceptions.VaultDown(), NoAnswer),
    (hvac.exceptions.InternalServerError(), NoAnswer),
    (requests.exceptions.SSLError(), Finding),
    (hvac.exceptions.InvalidPath(), Finding),
    (KeyError("auth"), Finding),
]


@pytest.mark.parametrize(("error", "kind"), FAILURES, ids=[type(e).__name__ for e, _ in FAILURES])
def test_who_did_not_answer_gets_no_command(
    shared: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Finding]
) -> None:
    (tmp_path / "token").write_text("e30.e30.c2ln")

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(hvac.api.auth_methods.Kubernetes, "login", broken)
    (found,) = look(kubernetes_login(shared, tmp_path / "token"))
    assert (type(found), found.fix) == (kind, "")


def sign_server(server: OpenBao, mount: str) -> None:
    """Have a role sign a CSR of the signer's own."""
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in SERVING.dns])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=True)
    csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    server.call("POST", f"{mount}/sign/istio-ca", {"csr": csr})


def test_a_role_that_refuses_the_serving_certificate_is_mended(operator: OpenBao, tmp_path: Path) -> None:
    """The signer would never be ready; that it does not sign it is not asked where another backend does."""
    root_mount(operator, "narrow", allow_any_name=False, allow_subdomains=False)
    token = policy_token(operator, tmp_path, "narrow/sign/istio-ca")
    settings = VaultSettings(operator.address, "narrow/sign/istio-ca", VaultAuth("token", token_file=token))
    assert not [f for f in look(settings) if f.level == "error"]
    with pytest.raises(Exception, match="not allowed"):
        sign_server(operator, "narrow")
    broken = [f for f in look(settings, SERVES) if f.level == "error"]
    assert "never ready" in broken[0].text
    run(operator, broken[-1].fix)
    assert not [f for f in look(settings, SERVES) if f.level == "error"]
    sign_server(operator, "narrow")


def test_the_role_that_the_page_writes_is_right(operator: OpenBao, tmp_path: Path) -> None:
    """Word for word, for workloads and for the signer's own certificate."""
    (command,) = re.findall(r"\$ (vault write pki/roles/istio-ca .*?)\n```", PAGE.read_text(), re.DOTALL)
    root_mount(operator, "page")
    operator.call("DELETE", "page/roles/istio-ca")
    run(operator, command.replace("pki/roles", "page/roles"))
    token = policy_token(operator, tmp_path, "page/sign/istio-ca")
    settings = VaultSettings(operator.address, "page/sign/istio-ca", VaultAuth("token", token_file=token))
    assert [f.text for f in look(settings, SERVES) if "roles/" in f.text] == []
    sign_server(operator, "page")


def test_sign_verbatim_is_warned_of(shared: OpenBao, tmp_path: Path) -> None:
    auth = VaultAuth("token", token_file=policy_token(shared, tmp_path, "pki/sign-verbatim"))
    direct = SPEC.check(VaultSettings(shared.address, "pki/sign-verbatim", auth), CONTEXT)
    assert any(f.level == "warning" and "not marked critical" in f.text for f in direct)
    role = SPEC.check(VaultSettings(shared.address, "pki/sign/sign-verbatim-like", auth), CONTEXT)
    assert not any("not marked critical" in f.text for f in role)


def test_every_rule_of_a_role_is_read_from_the_real_one(operator: OpenBao, tmp_path: Path) -> None:
    """A field that this server did not know would never be found wrong."""
    root_mount(operator, "odd", **{key: not value for key, value in ISTIO_ROLE.items() if isinstance(value, bool)})
    token = policy_token(operator, tmp_path, "odd/sign/istio-ca")
    settings = VaultSettings(operator.address, "odd/sign/istio-ca", VaultAuth("token", token_file=token))
    said = " ".join(f.text for f in look(settings))
    for key in ("require_cn", "client_flag", "server_flag", "no_store", "generate_lease"):
        assert f": {key} is" in said
