"""The variables of Istio's former Vault integration."""

from pathlib import Path

import pytest

import backends
from backends.vault.settings import VaultSettings
from signer.config.complaints import BadConfig
from signer.config.load import Loaded, load
from signer.config.seed_env import VARIABLES

# As the guide has them, but for the scheme.
SEED = {
    "VAULT_ADDR": "https://vault.vault.svc:8200",
    "VAULT_ROLE": "istio-ca",
    "VAULT_AUTH_PATH": "auth/kubernetes",
    "VAULT_SIGN_CSR_PATH": "pki/sign/istio-ca",
}


def loaded(environment: dict[str, str], file: Path | None = None) -> Loaded:
    """Load with these variables only."""
    return load(file, lambda name: backends.spec(name).settings, environment)


def vault(found: Loaded, name: str = "vault") -> VaultSettings:
    """The settings of one backend."""
    type_name, settings = found.backends[name]
    assert (type_name, type(settings)) == ("vault", VaultSettings)
    assert isinstance(settings, VaultSettings)
    return settings


@pytest.mark.parametrize("path", ["auth/kubernetes", "auth/kubernetes/login", "kubernetes", "/auth/kubernetes/"])
def test_alone_they_make_a_backend(path: str) -> None:
    settings = vault(loaded({**SEED, "VAULT_AUTH_PATH": path}))
    assert (settings.address, settings.path) == (SEED["VAULT_ADDR"], "pki/sign/istio-ca")
    assert (settings.auth.method, settings.auth.path, settings.auth.role) == ("kubernetes", "kubernetes", "istio-ca")


@pytest.mark.parametrize("variable", ["VAULT_CACERT", "VAULT_TLS_ROOT_CERT"])
def test_whom_to_trust_and_which_namespace(variable: str) -> None:
    settings = vault(loaded({**SEED, variable: "/etc/vault/ca.pem", "VAULT_NAMESPACE": "mesh"}))
    assert (settings.ca_file, settings.namespace) == (Path("/etc/vault/ca.pem"), "mesh")


def test_they_win_over_the_one_backend_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("backends: {pki: {type: vault, address: 'https://old:8200', timeout: 3s, auth: {role: old}}}")
    settings = vault(loaded(SEED, file), "pki")
    assert (settings.address, settings.auth.role) == (SEED["VAULT_ADDR"], "istio-ca")
    assert settings.timeout.total_seconds() == 3


def test_the_file_may_leave_the_role_to_them(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("backends: {pki: {type: vault, auth: {mount: other}}}")
    settings = vault(loaded({name: SEED[name] for name in ("VAULT_ADDR", "VAULT_SIGN_CSR_PATH")}, file), "pki")
    assert (settings.auth.path, settings.auth.login_role) == ("other", "istio-ca")


def test_with_two_backends_they_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    one = "{type: vault, address: 'https://old:8200', sign_path: a/sign/b, auth: {role: old}}"
    file.write_text(f"backends: {{first: {one}, second: {one}}}\nroutes: [{{backends: [first, second]}}]")
    with pytest.raises(BadConfig, match="which of first, second is meant"):
        loaded(SEED, file)


def test_vaults_own_tools_variables_alone_mean_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("backends: {local: {type: local, directory: /ca}}")
    assert set(loaded({"VAULT_ADDR": "https://x:8200", "VAULT_NAMESPACE": "x"}, file).backends) == {"local"}


def test_plain_http_is_refused_and_the_variable_named() -> None:
    with pytest.raises(BadConfig, match=r"environment: .*VAULT_ADDR.*by http tokens can be read on the way"):
        loaded({**SEED, "VAULT_ADDR": "http://vault.vault.svc:8200"})


def test_plain_http_can_be_allowed_and_is_on_loopback() -> None:
    allowed = {"ISTIO_SIGNER_BACKENDS": "{vault: {type: vault, allow_http: true}}"}
    assert vault(loaded({**SEED, **allowed, "VAULT_ADDR": "http://vault.vault.svc:8200"})).allow_http
    assert vault(loaded({**SEED, "VAULT_ADDR": "http://127.0.0.1:8200"})).address == "http://127.0.0.1:8200"


def test_every_variable_sets_a_key_that_exists() -> None:
    values = {name: SEED.get(name, "/x") for name in VARIABLES}
    assert vault(loaded(values)).namespace == "/x"
