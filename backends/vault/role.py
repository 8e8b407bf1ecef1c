"""What stands in a PKI role against Istio's CSRs: a table, and the one command that mends all of it. Pure.

Sources: Vault's API documentation of PKI, "Create/Update role"; Istio's CSRs: security/pkg/pki/util/generate_csr.go.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from signer.core.types import ServerNames

Role = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RoleRule:
    """One setting that Istio's CSRs depend on.

    Attributes:
        key: The role's field.
        level: ``error`` where CSRs are refused or certificates useless, ``warning`` where it does harm later.
        wanted: Its right value, given the trust domain and the longest lifetime.
        good: Whether a role that has this field will do.
        why: What happens otherwise.
        concerns: Whether it counts for that wish.
    """

    key: str
    level: str
    wanted: Callable[["Wish"], Any]
    good: Callable[[Role, "Wish"], bool]
    why: str
    concerns: Callable[["Wish"], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Wish:
    """What the role must be fit for.

    Attributes:
        serving: The names of the signer's own certificate, where the role is to sign that, too.
    """

    trust_domain: str
    max_ttl: timedelta
    serving: ServerNames = field(default_factory=ServerNames)

    @property
    def uri(self) -> str:
        """The pattern of the mesh's identities."""
        return f"spiffe://{self.trust_domain}/*"


def _is(key: str, value: Any) -> Callable[[Role, Wish], bool]:
    return lambda role, _: bool(role[key] == value)


def _covers_identities(role: Role, wish: Wish) -> bool:
    found = role["allowed_uri_sans"]
    sample = wish.uri.replace("*", "ns/shop/sa/cart")
    return isinstance(found, list) and any(isinstance(p, str) and fnmatchcase(sample, p) for p in found)


def _covers_names(role: Role, wish: Wish) -> bool:
    """As Vault reads it (builtin/logical/pki/cert_util.go, validateNames), as far as names without a star go."""
    if role.get("allow_any_name") is True:
        return True
    domains = _domains(role)
    bare = domains if role.get("allow_bare_domains") is True else []
    above = tuple(f".{domain}" for domain in domains) if role.get("allow_subdomains") is True else ()
    globs = domains if role.get("allow_glob_domains") is True else []
    return all(n in bare or n.endswith(above) or any(fnmatchcase(n, g) for g in globs) for n in wish.serving.dns)


def _domains(role: Role) -> list[str]:
    found = role.get("allowed_domains")
    return [domain for domain in found if isinstance(domain, str)] if isinstance(found, list) else []


def _lists_names(role: Role, wish: Wish) -> bool:
    return _covers_names(role, wish) or {*wish.serving.dns} <= {*_domains(role)}


def _allows_listed(role: Role, wish: Wish) -> bool:
    return _covers_names(role, wish) or role["allow_bare_domains"] is True


def _long_enough(role: Role, wish: Wish) -> bool:
    found = role["max_ttl"]
    # Zero means the mount's own maximum.
    return not isinstance(found, int) or found == 0 or found >= wish.max_ttl.total_seconds()


def _seconds(wish: Wish) -> str:
    return f"{int(wish.max_ttl.total_seconds())}s"


RULES: tuple[RoleRule, ...] = (
    RoleRule("require_cn", "error", lambda _: False, _is("require_cn", False), "proxies' CSRs have no common name"),
    RoleRule(
        "allowed_uri_sans",
        "error",
        lambda wish: [wish.uri],
        _covers_identities,
        "the SPIFFE identity in the CSR is refused",
    ),
    RoleRule(
        "key_type",
        "error",
        lambda _: "any",
        _is("key_type", "any"),
        "agents send RSA keys, ztunnel and agents with ECC_SIGNATURE_ALGORITHM send P-256",
    ),
    RoleRule(
        "client_flag",
        "error",
        lambda _: True,
        _is("client_flag", True),
        "a proxy is a client too: extendedKeyUsage clientAuth",
    ),
    RoleRule(
        "server_flag",
        "error",
        lambda _: True,
        _is("server_flag", True),
        "a proxy is a server too: extendedKeyUsage serverAuth",
    ),
    RoleRule("use_csr_sans", "error", lambda _: True, _is("use_csr_sans", True), "the identity is taken from the CSR"),
    RoleRule(
        "code_signing_flag",
        "error",
        lambda _: False,
        _is("code_signing_flag", False),
        "certificates with further usages are rejected",
    ),
    RoleRule(
        "email_protection_flag",
        "error",
        lambda _: False,
        _is("email_protection_flag", False),
        "certificates with further usages are rejected",
    ),
    RoleRule(
        "allowed_domains",
        "error",
        lambda wish: [*wish.serving.dns],
        _lists_names,
        "the signer's own serving certificate is refused: it is never ready",
        lambda wish: bool(wish.serving.dns),
    ),
    RoleRule(
        "allow_bare_domains",
        "error",
        lambda _: True,
        _allows_listed,
        "the signer's own serving certificate is refused: it is never ready",
        lambda wish: bool(wish.serving.dns),
    ),
    RoleRule(
        "allow_ip_sans",
        "error",
        lambda _: True,
        _is("allow_ip_sans", True),
        "serving.ip_addresses are refused: the signer is never ready",
        lambda wish: bool(wish.serving.ips),
    ),
    RoleRule(
        "no_store",
        "warning",
        lambda _: True,
        _is("no_store", True),
        "every certificate stays in Vault's storage and CRLs",
    ),
    RoleRule(
        "generate_lease",
        "warning",
        lambda _: False,
        _is("generate_lease", False),
        "every certificate makes a lease: Vault slows",
    ),
    RoleRule("max_ttl", "warning", _seconds, _long_enough, "longer wishes are shortened by Vault"),
)


@dataclass(frozen=True, slots=True)
class RoleFault:
    """A rule that a role breaks."""

    rule: RoleRule
    found: Any
    wanted: Any


def faults(role: Role, wish: Wish) -> list[RoleFault]:
    """List what stands against Istio's CSRs. A field that the server does not know breaks nothing."""
    broken = [rule for rule in _rules(wish) if rule.key in role and not rule.good(role, wish)]
    return [RoleFault(rule, role[rule.key], _value(rule, role, wish)) for rule in broken]


def _rules(wish: Wish) -> list[RoleRule]:
    return [rule for rule in RULES if rule.concerns(wish)]


def _value(rule: RoleRule, role: Role, wish: Wish) -> Any:
    wanted = rule.wanted(wish)
    present = role.get(rule.key)
    return (
        list(dict.fromkeys([*present, *wanted])) if isinstance(wanted, list) and isinstance(present, list) else wanted
    )


def fix(path: str, role: Role, found: list[RoleFault]) -> str:
    """Give the command that mends a role."""
    return write(path, {**role, **{fault.rule.key: fault.wanted for fault in found}})


def blind_fix(path: str, wish: Wish) -> str:
    """The same for a role that may not be read: what Istio needs, and nothing of what stood there."""
    return write(path, {rule.key: rule.wanted(wish) for rule in _rules(wish)})


def write(path: str, whole: Mapping[str, Any]) -> str:
    """Give the command that writes a whole object, as Vault replaces it whole.

    JSON by standard input, for lists and durations would lose their types as arguments.
    """
    return f"vault write {shlex.quote(path)} - <<'EOF'\n{json.dumps(whole, indent=2, sort_keys=True)}\nEOF"
