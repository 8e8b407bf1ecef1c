"""The sections on callers: defaults, and what is refused with which advice."""

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from signer import authn
from signer.authn import client_cert, development, offline, token_review
from signer.authz.rules import IMPERSONATION, Method
from signer.config.callers import Ambient, QuotaSection, QuotasSection, RuleSection, RuleSections
from signer.config.section import Section

RULES: TypeAdapter[list[RuleSection]] = TypeAdapter(RuleSections)


def test_defaults() -> None:
    """Changing one is a decision that users must be told of."""
    assert RuleSection(effect="deny").model_dump() == {
        "name": "",
        "effect": "deny",
        "identities": [],
        "namespaces": [],
        "clusters": [],
        "methods": [],
    }
    none = {"rate": None, "burst": None}
    assert QuotasSection().model_dump() == {"enabled": False, "identity": none, "node": none, "namespace": none}
    assert Ambient().model_dump() == {"trusted_node_accounts": []}


@pytest.mark.parametrize("section", [RuleSection, QuotaSection, QuotasSection, Ambient])
def test_every_key_says_what_it_is_for(section: type[Section]) -> None:
    assert [name for name, key in section.model_fields.items() if not key.description] == []


def test_methods_are_those_of_authenticators() -> None:
    """A rule on a method that nobody has would never hold, and one that rules cannot name could not be denied."""
    methods = [module.METHOD for module in (client_cert, development, offline, token_review)]
    assert sorted(get_args(Method)) == sorted([*methods, IMPERSONATION])


def test_every_authenticator_is_counted() -> None:
    """Above: a new one must not stay out of the rules."""
    known = {module.__name__.rpartition(".")[2] for module in (client_cert, development, offline, token_review)}
    found = {path.stem for path in Path(authn.__file__).parent.glob("*.py") if "\nMETHOD = " in path.read_text()}
    assert found == known


def test_good_rule() -> None:
    given = {
        "name": "shop",
        "effect": "allow",
        "identities": ["spiffe://cluster.local/ns/shop/sa/*"],
        "methods": ["offline", "impersonation"],
    }
    assert RuleSection.model_validate(given).model_dump(include=set(given)) == given


BAD: dict[str, tuple[type[Section], dict[str, Any], tuple[str | int, ...], str]] = {
    "no effect": (RuleSection, {}, ("effect",), "required"),
    "effect": (RuleSection, {"effect": "permit"}, ("effect",), "'allow' or 'deny'"),
    "identity": (
        RuleSection,
        {"effect": "deny", "identities": ["spiffe://a/ns/b/sa/c", "spiffe://a/ns/b*"]},
        ("identities", 1),
        "such as spiffe://cluster.local/ns/shop/sa/*",
    ),
    "namespace": (RuleSection, {"effect": "deny", "namespaces": [""]}, ("namespaces", 0), "at least 1 character"),
    "cluster": (RuleSection, {"effect": "deny", "clusters": [""]}, ("clusters", 0), "at least 1 character"),
    "method": (RuleSection, {"effect": "deny", "methods": ["jwt"]}, ("methods", 0), "'token-review'"),
    "unknown": (RuleSection, {"effect": "deny", "namespace": ["a"]}, ("namespace",), "not permitted"),
    "rate": (QuotaSection, {"rate": 0}, ("rate",), "greater than 0"),
    "endless": (QuotaSection, {"rate": float("inf")}, ("rate",), "finite"),
    "no number": (QuotaSection, {"rate": float("nan")}, ("rate",), "finite"),
    "burst": (QuotaSection, {"burst": 0}, ("burst",), "greater than or equal to 1"),
}


@pytest.mark.parametrize(("section", "given", "where", "told"), BAD.values(), ids=BAD)
def test_bad(section: type[Section], given: dict[str, Any], where: tuple[str | int, ...], told: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        section.model_validate(given)
    (error,) = refusal.value.errors()
    assert error["loc"] == where
    assert told in error["msg"]


@pytest.mark.parametrize("names", [("a", "a"), ("1", ""), ("a", "", "1")])
def test_rules_are_told_apart(names: tuple[str, ...]) -> None:
    """A name that is another's position is taken too."""
    with pytest.raises(ValidationError, match="two rules have the same name"):
        RULES.validate_python([{"name": name, "effect": "deny"} for name in names])


def test_rules_without_names() -> None:
    assert len(RULES.validate_python([{"effect": "deny"}, {"effect": "allow"}, {"name": "a", "effect": "deny"}])) == 3


@pytest.mark.parametrize("account", ["istio-system/ztunnel", "a/b.c", "a" * 63 + "/" + "b" * 63])
def test_node_accounts(account: str) -> None:
    assert Ambient(trusted_node_accounts=[account]).trusted_node_accounts == [account]


NO_ACCOUNTS = ["", "ztunnel", "/ztunnel", "istio-system/", "istio-system/*", "*/ztunnel", "istio-system/ztunnel/x"]
NO_ACCOUNTS += ["istio-system/ztunnel\n", " istio-system/ztunnel", "Istio-System/ztunnel", "a.b/c", "x" * 5000]
NO_ACCOUNTS += ["spiffe://cluster.local/ns/istio-system/sa/ztunnel", "istio-system:ztunnel", "a" * 64 + "/b"]


@pytest.mark.parametrize("account", NO_ACCOUNTS)
def test_no_node_accounts(account: str) -> None:
    """Exact names only; the message says how to write one, and quotes safely."""
    with pytest.raises(ValidationError) as refusal:
        Ambient(trusted_node_accounts=["istio-system/ztunnel", account])
    (error,) = refusal.value.errors()
    assert error["loc"] == ("trusted_node_accounts", 1)
    assert "write NAMESPACE/SERVICE_ACCOUNT, such as istio-system/ztunnel" in error["msg"]
    assert error["msg"].isprintable()
    assert len(error["msg"]) < 300


def test_so_many_node_accounts() -> None:
    assert Ambient(trusted_node_accounts=[f"a/b{i}" for i in range(100)])
    with pytest.raises(ValidationError, match="at most 100"):
        Ambient(trusted_node_accounts=[f"a/b{i}" for i in range(101)])
