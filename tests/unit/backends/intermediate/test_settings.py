"""The ``intermediate`` section: what could never be minted is refused before it is tried."""

from typing import Any

import pytest

from backends import spec
from signer.config.complaints import BadConfig
from signer.config.load import Loaded, load

BASE: dict[str, dict[str, Any]] = {
    "local": {"directory": "/ca"},
    "vault": {"address": "https://vault:8200"},
    "cert-manager": {"issuer": {"name": "ca"}},
}


def loaded(type_name: str, section: dict[str, Any]) -> Loaded:
    """Load one backend with this ``intermediate`` section."""
    backend = {"type": type_name, "mode": "intermediate", "intermediate": section, **BASE[type_name]}
    return load(None, lambda name: spec(name).settings, {}, {"backends": {"mine": backend}})


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"common_name": ""}, "1 to 64 bytes"),
    "a name too long": ({"common_name": "x" * 65}, "1 to 64 bytes"),
    "a name too long as UTF-8": ({"common_name": "ä" * 33}, "1 to 64 bytes"),
    "no lifetime": ({"ttl": "0s"}, "1m or more"),
    "hardly any lifetime": ({"ttl": "59s"}, "1m or more"),
    "a negative delay": ({"new_root_delay": "-1s"}, "new_root_delay"),
}


@pytest.mark.parametrize("type_name", BASE)
@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str, type_name: str) -> None:
    section, fault = BAD[case]
    path = {"sign_path": "pki/root/sign-intermediate"} if type_name == "vault" else {}
    with pytest.raises(BadConfig, match=fault):
        loaded(type_name, section | path)


@pytest.mark.parametrize("section", [{"common_name": "x" * 64}, {"ttl": "1m"}, {"new_root_delay": "0s"}])
def test_what_can_be_used(section: dict[str, Any]) -> None:
    loaded("local", section)


@pytest.mark.parametrize("type_name", ["local", "cert-manager"])
def test_a_path_of_vault_is_no_key_elsewhere(type_name: str) -> None:
    with pytest.raises(BadConfig, match="no such key"):
        loaded(type_name, {"sign_path": "pki/root/sign-intermediate"})
