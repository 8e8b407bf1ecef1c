"""The table of what stands in a role against Istio's CSRs."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backends.vault.role import RULES, Wish, blind_fix, faults, fix

WISH = Wish("cluster.local", timedelta(hours=24))
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
    role = RIGHT | {key: WRONG[key], "allowed_domains": ["x"]}
    (found,) = faults(role, WISH)
    assert (found.rule.key, found.found) == (key, WRONG[key])
    body = fix("pki/roles/x", role, [found]).split("\n", 1)[1].removesuffix("\nEOF")
    written = json.loads(body)
    assert faults(written, WISH) == []
    assert written["allowed_domains"] == ["x"], "writing replaces the role whole"


@pytest.mark.parametrize("pattern", ["spiffe://cluster.local/*", "spiffe://*", "*"])
def test_patterns_that_cover_the_mesh(pattern: str) -> None:
    assert faults(RIGHT | {"allowed_uri_sans": ["other", pattern]}, WISH) == []


@pytest.mark.parametrize("pattern", ["spiffe://other/*", "spiffe://cluster.local/ns/shop", "", "cluster.local"])
def test_patterns_that_do_not(pattern: str) -> None:
    assert len(faults(RIGHT | {"allowed_uri_sans": [pattern]}, WISH)) == 1


def test_a_field_that_the_server_does_not_know_breaks_nothing() -> None:
    assert faults({}, WISH) == []


def test_a_role_that_may_not_be_read_is_written_anew() -> None:
    assert '"require_cn": false' in blind_fix("pki/roles/x", WISH)
