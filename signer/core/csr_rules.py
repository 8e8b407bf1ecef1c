"""A stranger's CSR, second step: hold it against the identity that was granted.

Only ``check_csr`` and ``own_server_csr`` make a ``CheckedCsr``, and a backend accepts nothing else, so an unchecked
CSR cannot be signed. What may be in a CSR is the table ``CSR_RULES``; what is not allowed there is refused.
Sources: Istio ``security/pkg/pki/ra/common.go`` and ``security/pkg/pki/util/generate_csr.go``, ztunnel
``src/tls/csr.rs``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from signer.core import keys
from signer.core.csr import ParsedCsr
from signer.core.errors import CsrRejected, IdentityRejected
from signer.core.identity import InvalidIdentity, SpiffeId

_SEAL: Final = object()


@dataclass(frozen=True, slots=True)
class CheckedCsr:
    """A CSR that every rule passed. Made by this module only."""

    parsed: ParsedCsr
    identity: SpiffeId | None
    seal: object

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("a CheckedCsr comes from check_csr, never from a constructor call elsewhere")


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a CSR must satisfy. ``fault`` says what is wrong, or None."""

    name: str
    fault: Callable[[ParsedCsr, SpiffeId], str | None]
    error: type[CsrRejected] = CsrRejected


def _key_fault(csr: ParsedCsr, _: SpiffeId) -> str | None:
    return keys.weakness(csr.key)


def _signature_fault(csr: ParsedCsr, _: SpiffeId) -> str | None:
    used = csr.request.signature_hash_algorithm
    if used is not None and used.name in ("md5", "sha1"):
        return f"the CSR is signed with {used.name}"
    return None


def _subject_fault(csr: ParsedCsr, _: SpiffeId) -> str | None:
    """The agent sends an empty O (generate_csr.go), ztunnel an empty name; any text would be a second identity."""
    for attribute in csr.subject:
        if attribute.oid != NameOID.ORGANIZATION_NAME or attribute.value:
            return f"the subject holds {attribute.rfc4514_attribute_name}; it must be empty"
    return None


ALLOWED_EXTENSIONS: dict[x509.ObjectIdentifier, str] = {
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: "subjectAltName",
    ExtensionOID.KEY_USAGE: "keyUsage",
    ExtensionOID.EXTENDED_KEY_USAGE: "extendedKeyUsage",
    ExtensionOID.BASIC_CONSTRAINTS: "basicConstraints",
}


def _extensions_fault(csr: ParsedCsr, _: SpiffeId) -> str | None:
    unknown = [e.oid.dotted_string for e in csr.extensions if e.oid not in ALLOWED_EXTENSIONS]
    return f"extensions that are not allowed: {', '.join(unknown)}" if unknown else None


def _ca_fault(csr: ParsedCsr, _: SpiffeId) -> str | None:
    for extension in csr.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            return "it asks for a CA certificate (basicConstraints CA:TRUE)"
    return None


def _key_usage_fault(csr: ParsedCsr, _: SpiffeId) -> str | None:
    for extension in csr.extensions:
        usage = extension.value
        if isinstance(usage, x509.KeyUsage) and (usage.key_cert_sign or usage.crl_sign):
            return "it asks for the key usage of a CA (keyCertSign or cRLSign)"
    return None


ALLOWED_EXTENDED_USAGES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})


def _extended_usage_fault(csr: ParsedCsr, _: SpiffeId) -> str | None:
    for extension in csr.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            other = [u.dotted_string for u in extension.value if u not in ALLOWED_EXTENDED_USAGES]
            if other:
                return f"extended key usages that are not allowed: {', '.join(other)}"
    return None


def _names_fault(csr: ParsedCsr, identity: SpiffeId) -> str | None:
    names = requested_names(csr)
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        kinds = ", ".join(type(n).__name__ for n in names) or "none"
        return f"it must hold exactly one name, a URI; it holds: {kinds[:200]}"
    if names[0].value == str(identity):
        return None
    try:
        asked = SpiffeId.parse(names[0].value)
    except InvalidIdentity as error:
        return str(error)
    return f"it asks for {asked}, granted is {identity}"


def requested_names(csr: ParsedCsr) -> list[x509.GeneralName]:
    """List the names of the CSR's subjectAltName, unjudged."""
    for extension in csr.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            return list(extension.value)
    return []


CSR_RULES: tuple[Rule, ...] = (
    Rule("key", _key_fault),
    Rule("signature", _signature_fault),
    Rule("subject", _subject_fault),
    Rule("extensions", _extensions_fault),
    Rule("ca", _ca_fault),
    Rule("key-usage", _key_usage_fault),
    Rule("extended-key-usage", _extended_usage_fault),
    Rule("names", _names_fault, IdentityRejected),
)


def check_csr(parsed: ParsedCsr, identity: SpiffeId) -> CheckedCsr:
    """Hold a parsed CSR against every rule, for the identity that was granted to its sender.

    Raises:
        CsrRejected: A rule is broken; ``IdentityRejected`` where it is the names.
    """
    for rule in CSR_RULES:
        fault = rule.fault(parsed, identity)
        if fault is not None:
            raise rule.error(f"{rule.name}: {fault}")
    return CheckedCsr(parsed, identity, _SEAL)


def own_server_csr(parsed: ParsedCsr) -> CheckedCsr:
    """Accept the signer's own CSR for its serving certificate: its key counts, its names are decided elsewhere.

    Raises:
        CsrRejected: The key is too weak.
    """
    fault = keys.weakness(parsed.key)
    if fault is not None:
        raise CsrRejected(f"key: {fault}")
    return CheckedCsr(parsed, None, _SEAL)
