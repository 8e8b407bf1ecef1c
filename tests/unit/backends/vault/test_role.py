"""The table of what stands in a role against Istio's CSRs."""

import json
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from backends.vault.role import RULES, Wish, blind_fix, faults, fix
from signer.core.types import ServerNames

NAMES = ServerNames(("istio-signer.istio-system.svc",), (ip_address("10.0.0.1"),))
WISH = Wish("cluster.local", timedelta(hours=24), NAMES)
RIGHT: dict[str, Any] = {rule.key: rule.wanted(WISH) for rule in RULES} | {"max_ttl": 259200}
WRONG: dict[str, Any] = {
    "require_cn": True,
    "allowed_uri_sans": [],
    "key_type": "rsa",
    "client_flag": False,
    "server_flag": False,
    "use_csr_sans": False,
    "code_signing_flag": True,
    "email_protection_flag": True,
    "allowed_domains": ["other.svc"],
    "allow_bare_domains": False,
    "allow_ip_sans": False,
    "no_store": False,
    "generate_lease": True,
    "max_ttl": 3600,
}


def test_a_right_role_has_no_faults() -> None:
    assert faults(RIGHT, WISH) == []


def test_every_rule_has_a_case() -> None:
    assert set(WRONG) == {rule.key for rule in RULES}


@pytest.mark.parametrize("key", WRONG)
def test_each_wrong_value_is_found_and_mended(key: str) -> None:
    role = RIGHT | {key: WRONG[key], "ou": ["x"]}
    (found,) = faults(role, WISH)
    assert (found.rule.key, found.found) == (key, WRONG[key])
    body = fix("pki/roles/x", role, [found]).split("\n", 1)[1].removesuffix("\nEOF")
    written = json.loads(body)
    assert faults(written, WISH) == []
    assert written["ou"] == ["x"], "writing replaces the role whole"


@pytest.mark.parametrize("pattern", ["spiffe://cluster.local/*", "spiffe://*", "*"])
def test_patterns_that_cover_the_mesh(pattern: str) -> None:
    assert faults(RIGHT | {"allowed_uri_sans": ["other", pattern]}, WISH) == []


@pytest.mark.parametrize("pattern", ["spiffe://other/*", "spiffe://cluster.local/ns/shop", "", "cluster.local"])
def test_patterns_that_do_not(pattern: str) -> None:
    assert len(faults(RIGHT | {"allowed_uri_sans": [pattern]}, WISH)) == 1


@pytest.mark.parametrize(
    "role",
    [
        {"allow_any_name": True},
        {"allowed_domains": ["istio-system.svc"], "allow_subdomains": True},
        {"allowed_domains": ["*.istio-system.svc"], "allow_glob_domains": True},
    ],
)
def test_roles_that_cover_the_serving_names_in_other_ways(role: dict[str, Any]) -> None:
    assert faults(RIGHT | {"allowed_domains": [], "allow_bare_domains": False} | role, WISH) == []


@pytest.mark.parametrize(
    "role",
    [
        {"allowed_domains": ["istio-system.svc"], "allow_bare_domains": True},
        {"allowed_domains": ["signer.istio-system.svc"], "allow_subdomains": True},
        {"allowed_domains": ["*.istio-system.svc"]},
        {"allowed_domains": None},
    ],
)
def test_roles_that_do_not_are_mended_by_what_is_missing(role: dict[str, Any]) -> None:
    whole = RIGHT | {"allowed_domains": [], "allow_bare_domains": False} | role
    found = faults(whole, WISH)
    assert {fault.rule.key for fault in found} <= {"allowed_domains", "allow_bare_domains"}
    assert found
    body = fix("pki/roles/x", whole, found).split("\n", 1)[1].removesuffix("\nEOF")
    assert faults(json.loads(body), WISH) == []


def test_serving_names_count_only_where_this_role_signs_them() -> None:
    workloads = Wish("cluster.local", timedelta(hours=24))
    assert faults(RIGHT | WRONG, WISH) != faults(RIGHT | WRONG, workloads)
    assert "allow" not in " ".join(f.rule.key for f in faults(RIGHT | WRONG, workloads)).replace("allowed_uri_sans", "")
    assert "allowed_domains" not in blind_fix("pki/roles/x", workloads)
    assert "istio-signer.istio-system.svc" in blind_fix("pki/roles/x", WISH)


def test_a_field_that_the_server_does_not_know_breaks_nothing() -> None:
    assert faults({}, WISH) == []


def test_a_role_that_may_not_be_read_is_written_anew() -> None:
    assert '"require_cn": false' in blind_fix("pki/roles/x", WISH)
