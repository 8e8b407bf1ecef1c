"""What stands in a PKI role against Istio's CSRs: a table, and the one command that mends all of it. Pure.

Sources: Vault's API documentation of PKI, "Create/Update role"; Istio's CSRs: security/pkg/pki/util/generate_csr.go.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

Role = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RoleRule:
    """One setting that Istio's CSRs depend on.

    Attributes:
        key: The role's field.
        level: ``error`` where CSRs are refused or certificates useless, ``warning`` where it does harm later.
        wanted: Its right value, given the trust domain and the longest lifetime.
        good: Whether a present value will do.
        why: What happens otherwise.
    """

    key: str
    level: str
    wanted: Callable[["Wish"], Any]
    good: Callable[[Any, "Wish"], bool]
    why: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What the role must be fit for."""

    trust_domain: str
    max_ttl: timedelta

    @property
    def uri(self) -> str:
        """The pattern of the mesh's identities."""
        return f"spiffe://{self.trust_domain}/*"


def _is(value: bool) -> Callable[[Any, Wish], bool]:
    return lambda found, _: found is value


def _covers_identities(found: Any, wish: Wish) -> bool:
    sample = wish.uri.replace("*", "ns/shop/sa/cart")
    return isinstance(found, list) and any(isinstance(p, str) and fnmatchcase(sample, p) for p in found)


def _long_enough(found: Any, wish: Wish) -> bool:
    # Zero means the mount's own maximum.
    return not isinstance(found, int) or found == 0 or found >= wish.max_ttl.total_seconds()


def _seconds(wish: Wish) -> str:
    return f"{int(wish.max_ttl.total_seconds())}s"


RULES: tuple[RoleRule, ...] = (
    RoleRule("require_cn", "error", lambda _: False, _is(False), "proxies' CSRs have no common name"),
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
        lambda found, _: found == "any",
        "agents send RSA keys, ztunnel and agents with ECC_SIGNATURE_ALGORITHM send P-256",
    ),
    RoleRule("client_flag", "error", lambda _: True, _is(True), "a proxy is a client too: extendedKeyUsage clientAuth"),
    RoleRule("server_flag", "error", lambda _: True, _is(True), "a proxy is a server too: extendedKeyUsage serverAuth"),
    RoleRule("use_csr_sans", "error", lambda _: True, _is(True), "the identity is taken from the CSR"),
    RoleRule(
        "code_signing_flag", "error", lambda _: False, _is(False), "certificates with further usages are rejected"
    ),
    RoleRule(
        "email_protection_flag", "error", lambda _: False, _is(False), "certificates with further usages are rejected"
    ),
    RoleRule("no_store", "warning", lambda _: True, _is(True), "every certificate stays in Vault's storage and CRLs"),
    RoleRule("generate_lease", "warning", lambda _: False, _is(False), "every certificate makes a lease: Vault slows"),
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
    broken = [rule for rule in RULES if rule.key in role and not rule.good(role[rule.key], wish)]
    return [RoleFault(rule, role[rule.key], _value(rule, role, wish)) for rule in broken]


def _value(rule: RoleRule, role: Role, wish: Wish) -> Any:
    wanted = rule.wanted(wish)
    present = role.get(rule.key)
    return [*present, *wanted] if isinstance(wanted, list) and isinstance(present, list) else wanted


def fix(path: str, role: Role, found: list[RoleFault]) -> str:
    """Give the command that mends a role."""
    return write(path, {**role, **{fault.rule.key: fault.wanted for fault in found}})


def blind_fix(path: str, wish: Wish) -> str:
    """The same for a role that may not be read: what Istio needs, and nothing of what stood there."""
    return write(path, {rule.key: rule.wanted(wish) for rule in RULES})


def write(path: str, whole: Mapping[str, Any]) -> str:
    """Give the command that writes a whole object, as Vault replaces it whole.

    JSON by standard input, for lists and durations would lose their types as arguments.
    """
    return f"vault write {shlex.quote(path)} - <<'EOF'\n{json.dumps(whole, indent=2, sort_keys=True)}\nEOF"
