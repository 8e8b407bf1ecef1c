"""The keys of a Vault backend: what follows from them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from backends.vault.settings import VaultAuth, VaultIntermediateSettings, VaultSettings
from backends.vault.spec import SPEC
from tests.support.fakes import context

ADDRESS = "https://vault:8200"


@pytest.mark.parametrize(
    ("path", "mount", "role", "issuer"),
    [
        ("pki/sign/istio-ca", "pki", "istio-ca", None),
        ("/v1/a/b/sign/role/", "a/b", "role", None),
        ("pki/sign-verbatim", "pki", None, None),
        ("pki/sign-verbatim/role", "pki", None, None),
        ("pki/issuer/one/sign/role", "pki", "role", "one"),
        ("pki/issuer/one/sign-verbatim", "pki", None, "one"),
        ("a/b/issuer/default/sign-intermediate", "a/b", None, "default"),
        ("pki/root/sign-intermediate", "pki", None, None),
        ("somewhere/else", None, None, None),
    ],
)
def test_the_path_tells_who_signs(path: str, mount: str | None, role: str | None, issuer: str | None) -> None:
    settings = VaultSettings("https://vault:8200", path, VaultAuth(role="r"))
    assert (settings.mount, settings.role, settings.issuer) == (mount, role, issuer)


@pytest.mark.parametrize(
    "address", ["vault:8200", "ftp://vault", "https://", "https://user:pass@vault", "http://vault"]
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        VaultSettings(address, "pki/sign/x", VaultAuth(role="r"))


@pytest.mark.parametrize("method", ["jwt", "approle", "cert", "token"])
def test_a_method_says_what_it_needs(method: Any) -> None:
    with pytest.raises(ValueError, match=f"method {method} needs"):
        VaultAuth(method)


TOKEN = Path("/token")
ROLES: dict[str, tuple[VaultAuth, str]] = {
    "none at all": (VaultAuth(), "istio-ca"),
    "another key is given": (VaultAuth(mount="k8s"), "istio-ca"),
    "its own": (VaultAuth(role="mesh"), "mesh"),
    "jwt": (VaultAuth("jwt", token_file=TOKEN), "istio-ca"),
    "cert": (VaultAuth("cert", certificate_file=TOKEN, key_file=TOKEN), ""),
    "token": (VaultAuth("token", token_file=TOKEN), ""),
}


@pytest.mark.parametrize("case", ROLES)
def test_one_default_for_the_role(case: str) -> None:
    auth, role = ROLES[case]
    assert auth.login_role == role


def minting(path: str) -> VaultSettings:
    """Of the mode that has CAs signed; leaves have a path too."""
    plan = VaultIntermediateSettings(sign_path=path)
    return VaultSettings(ADDRESS, "pki/sign/istio-ca", mode="intermediate", intermediate=plan)


@pytest.mark.parametrize(("mode", "example"), [("direct", "pki/sign/istio-ca"), ("intermediate", "sign-intermediate")])
def test_each_mode_names_the_path_that_it_lacks(mode: Any, example: str) -> None:
    with pytest.raises(ValueError, match=f"sign_path is missing: .*{example}"):
        VaultSettings(ADDRESS, mode=mode)


def test_the_path_of_leaves_is_none_of_cas() -> None:
    with pytest.raises(ValueError, match=r"intermediate\.sign_path is missing"):
        minting("")


@pytest.mark.parametrize(
    ("path", "complaints"),
    [
        ("pki/root/sign-intermediate", 0),
        ("pki/issuer/mesh/sign-intermediate", 0),
        ("sign/root/sign-intermediate", 0),
        ("somewhere/else", 0),
        ("pki/sign/istio-ca", 1),
        ("pki/sign-verbatim", 1),
        ("pki/issuer/mesh/sign/istio-ca", 1),
        ("pki/issuer/mesh/sign-verbatim/istio-ca", 1),
    ],
)
def test_a_path_that_signs_leaves_only_mints_nothing(path: str, complaints: int) -> None:
    found = [f for f in SPEC.check(minting(path), context()) if f.where.endswith("intermediate.sign_path")]
    assert [f.level for f in found] == ["error"] * complaints
