"""The fields of a returned leaf, held against the request: the table ``LEAF_CHECKS``.

Knows nothing of how certificates are made: a template with a fault must not be excused by the code that has it.
Sources: RFC 5280 section 4.2; what proxies need of a leaf: ztunnel ``src/tls/certificate.rs``, Istio
``security/pkg/pki/util/san.go``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from signer.core.identity import SpiffeId
from signer.core.parsing import UNPARSABLE
from signer.core.types import ServerNames, SigningRequest, Subject

# Backends start certificates early on purpose: kube-controller-manager by 5 minutes, the most of all.
MAX_BACKDATE = timedelta(minutes=6)
# Remote signers count the lifetime from their own clock.
CLOCK_LEEWAY = timedelta(seconds=30)

_LEAF_CRITICAL = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
    }
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A returned leaf beside the request that it answers; ``extensions`` by object identifier."""

    certificate: x509.Certificate
    extensions: dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]
    request: SigningRequest
    now: datetime


def _key_fault(leaf: Leaf) -> str | None:
    same = leaf.certificate.public_key() == leaf.request.csr.parsed.key
    return None if same else "its key is not the CSR's"


def _subject_fault(leaf: Leaf) -> str | None:
    san = leaf.extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if san is None or not isinstance(san.value, x509.SubjectAlternativeName):
        return "it has no subjectAltName"
    if not leaf.certificate.subject.rdns and not san.critical:
        return "its subject is empty and its subjectAltName not critical (RFC 5280 section 4.2.1.6)"
    return _names_fault(list(san.value), leaf.request.subject)


def _names_fault(names: list[x509.GeneralName], wanted: Subject) -> str | None:
    """Exactly the names asked for: one more would be one more identity."""
    if names == list(expected_names(wanted)):
        return None
    return f"it names {', '.join(ascii(str(n.value))[:100] for n in names) or 'nobody'} instead of {wanted}"


def expected_names(subject: Subject) -> list[x509.GeneralName]:
    """The subjectAltName that a leaf for this subject must have, in this order."""
    if isinstance(subject, SpiffeId):
        return [x509.UniformResourceIdentifier(str(subject))]
    return _server_names(subject)


def _server_names(names: ServerNames) -> list[x509.GeneralName]:
    return [*map(x509.DNSName, names.dns), *map(x509.IPAddress, names.ips)]


def _ca_fault(leaf: Leaf) -> str | None:
    constraints = leaf.extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is not None and isinstance(constraints.value, x509.BasicConstraints) and constraints.value.ca:
        return "it is a CA certificate"
    return None


def _usage_fault(leaf: Leaf) -> str | None:
    extension = leaf.extensions.get(ExtensionOID.KEY_USAGE)
    if extension is None or not isinstance(extension.value, x509.KeyUsage):
        return "it has no keyUsage"
    usage = extension.value
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        return "its keyUsage must hold digitalSignature and nothing of a CA's"
    return None


def _extended_usage_fault(leaf: Leaf) -> str | None:
    """Proxies play both roles with one certificate."""
    extension = leaf.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    usages = set(extension.value) if extension and isinstance(extension.value, x509.ExtendedKeyUsage) else set()
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    return None if usages == both else "its extendedKeyUsage is not serverAuth and clientAuth"


def _critical_fault(leaf: Leaf) -> str | None:
    odd = [o.dotted_string for o, e in leaf.extensions.items() if e.critical and o not in _LEAF_CRITICAL]
    return f"critical extensions that proxies do not know: {', '.join(odd)}" if odd else None


# What webpki and BoringSSL verify, beside being strong enough.
SIGNATURE_HASHES = frozenset({"sha256", "sha384", "sha512"})


def _signature_fault(leaf: Leaf) -> str | None:
    used = leaf.certificate.signature_hash_algorithm
    if used is not None and used.name in SIGNATURE_HASHES:
        return None
    return f"it is signed with {used.name if used else 'a method without a hash'}"


def _window_fault(leaf: Leaf) -> str | None:
    start, end = leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc
    if start > leaf.now + CLOCK_LEEWAY or start < leaf.now - MAX_BACKDATE:
        return f"it starts at {start.isoformat()}, now is {leaf.now.isoformat()}"
    if end > leaf.request.validity.not_after + CLOCK_LEEWAY:
        return f"it ends at {end.isoformat()}, asked was {leaf.request.validity.not_after.isoformat()}"
    return "it has already ended" if end <= leaf.now else None


LEAF_CHECKS: dict[str, Callable[[Leaf], str | None]] = {
    "key": _key_fault,
    "names": _subject_fault,
    "ca": _ca_fault,
    "key-usage": _usage_fault,
    "extended-key-usage": _extended_usage_fault,
    "critical": _critical_fault,
    "signature": _signature_fault,
    "window": _window_fault,
}


def leaf_fault(certificate: x509.Certificate, request: SigningRequest, now: datetime) -> str | None:
    """Name the first check that a returned leaf fails and why, or None if it passes all."""
    try:
        extensions = {e.oid: e for e in certificate.extensions}
        leaf = Leaf(certificate, extensions, request, now)
        return next((f"{name}: {fault}" for name, check in LEAF_CHECKS.items() if (fault := check(leaf))), None)
    except UNPARSABLE as error:
        return f"form: it cannot be parsed ({type(error).__name__})"
