"""Whose a client certificate is: the rules of its own fields.

Sources: RFC 5280 section 4.2; the X509-SVID standard, sections 2-4.
"""

from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from signer.core.chain import is_ca
from signer.core.identity import SpiffeId, TrustDomain
from signer.core.parsing import UNPARSABLE
from signer.core.verify_leaf import SIGNATURE_HASHES

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


def identity_of(leaf: x509.Certificate, domain: TrustDomain, now: datetime) -> SpiffeId:
    """Whose certificate it is, if it is good at ``now``; who issued it is not looked at.

    Raises:
        ValueError: It is no client certificate of the trust domain; the message goes after "client certificate:".
    """
    try:
        fault = _leaf_fault(leaf, now)
        names = list(value_of(leaf, x509.SubjectAlternativeName) or ())
    except UNPARSABLE as error:
        raise ValueError(f"it cannot be parsed ({type(error).__name__})") from None
    if fault is not None:
        raise ValueError(fault)
    return _named(names, domain)


def _leaf_fault(leaf: x509.Certificate, now: datetime) -> str | None:
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not start <= now < end:
        return f"it is valid from {start.isoformat()} to {end.isoformat()}, now is {now.isoformat()}"
    usage, extended = value_of(leaf, x509.KeyUsage), value_of(leaf, x509.ExtendedKeyUsage)
    if is_ca(leaf) or (usage is not None and usage.key_cert_sign):
        return "it is a CA certificate"
    if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extended:
        return "its extendedKeyUsage lacks clientAuth"
    used = leaf.signature_hash_algorithm
    if used is None or used.name not in SIGNATURE_HASHES:
        return f"it is signed with {used.name if used else 'a method without a hash'}"
    return None


def value_of(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    """The extension of a kind, or None.

    Raises:
        Exception: One of ``UNPARSABLE``.
    """
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _named(names: list[x509.GeneralName], domain: TrustDomain) -> SpiffeId:
    """One identity and nothing beside it: a second name would be a second caller (X509-SVID, section 2)."""
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise ValueError(f"its subjectAltName must be one URI, it has {len(names)} names")
    identity = SpiffeId.parse(names[0].value)
    if identity.trust_domain != domain:
        raise ValueError(f"its trust domain is {identity.trust_domain.name!a}, not {domain}")
    return identity
