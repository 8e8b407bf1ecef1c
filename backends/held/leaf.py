"""The template of a leaf: what the local CA puts into a certificate. The validator shares no code with it."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from backends.held.ca import HeldCa
from backends.held.usage import key_usage
from signer.core import keys
from signer.core.identity import SpiffeId
from signer.core.types import ServerNames, SigningRequest

_NOT_A_CA = x509.BasicConstraints(ca=False, path_length=None)
# Proxies are clients and servers with the same certificate.
_BOTH_ROLES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


_RSA_USAGE = key_usage("digital_signature", "key_encipherment")
_EC_USAGE = key_usage("digital_signature")


def authority_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Point at the issuer's subject key identifier, or at its key's hash where it has none (RFC 5280 4.2.1.1)."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _names(request: SigningRequest) -> x509.SubjectAlternativeName:
    subject = request.subject
    if isinstance(subject, SpiffeId):
        return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(subject))])
    return _server_names(subject)


def _server_names(names: ServerNames) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([*map(x509.DNSName, names.dns), *map(x509.IPAddress, names.ips)])


@dataclass(frozen=True, slots=True)
class Template:
    """What is the same in all leaves of a CA, built and encoded once: the rest costs a third of the whole."""

    ca: HeldCa
    rsa: x509.CertificateBuilder
    ec: x509.CertificateBuilder

    @classmethod
    def of(cls, ca: HeldCa) -> "Template":
        """Prepare a CA's template."""
        return cls(ca, _base(ca, _RSA_USAGE), _base(ca, _EC_USAGE))


def _base(ca: HeldCa, usage: x509.KeyUsage) -> x509.CertificateBuilder:
    """The subject is empty, so subjectAltName will have to be critical (RFC 5280 section 4.2.1.6)."""
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(ca.certificate.subject)
    authority = authority_key_id(ca.certificate)
    for value, critical in ((usage, True), (_BOTH_ROLES, False), (_NOT_A_CA, True), (authority, False)):
        encoded = x509.UnrecognizedExtension(value.oid, value.public_bytes())
        builder = builder.add_extension(encoded, critical)
    return builder


def sign_leaf(template: Template, request: SigningRequest) -> x509.Certificate:
    """Make and sign the leaf for a request; never longer-lived than the CA's path."""
    ca, key = template.ca, request.csr.parsed.key
    base = template.rsa if isinstance(key, rsa.RSAPublicKey) else template.ec
    builder = (
        base.public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(request.validity.not_before)
        .not_valid_after(min(request.validity.not_after, ca.window[1]))
        .add_extension(_names(request), critical=True)
    )
    return builder.sign(ca.key, keys.signing_hash(ca.key))
