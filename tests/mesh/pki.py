"""Throw-away authorities and leaves, in the shape that a mesh CA gives to its workloads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.mesh.credential import Credential

HOUR = timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def ec_key() -> Key:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key() -> Key:
    """Make an RSA-2048 key."""
    return rsa.generate_private_key(65537, 2048)


def pem(certificate: x509.Certificate) -> str:
    """Give the certificate as PEM text that ends with a line feed."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: Key) -> str:
    """Give the key as PKCS #8 PEM text."""
    unencrypted = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted).decode()


@dataclass(frozen=True, slots=True)
class Authority:
    """A root when it has no parent, else an intermediate below it."""

    certificate: x509.Certificate
    key: Key
    parent: "Authority | None" = None

    @classmethod
    def root(cls, name: str) -> "Authority":
        """Make a self-signed authority."""
        key = ec_key()
        subject = _name(name)
        return cls(_sign(_ca_template(subject, subject, key), key, key), key)

    def intermediate(self, name: str) -> "Authority":
        """Make an authority below this one."""
        key = ec_key()
        template = _ca_template(_name(name), self.certificate.subject, key)
        return Authority(_sign(template, self.key, self.key), key, self)

    def leaf(
        self,
        names: Sequence[x509.GeneralName],
        *,
        key: Key | None = None,
        not_before: datetime | None = None,
        lifetime: timedelta = HOUR,
    ) -> Credential:
        """Issue a certificate with an empty subject and a critical SAN, valid from five minutes ago by default."""
        key = key or ec_key()
        start = not_before or datetime.now(UTC) - timedelta(minutes=5)
        template = _template(x509.Name([]), self.certificate.subject, key, start, lifetime)
        for extension, critical in _leaf_extensions(names):
            template = template.add_extension(extension, critical)
        leaf = _sign(template, key, self.key)
        return Credential.from_answer([pem(leaf), *self.chain()], key_pem(key))

    def workload(
        self,
        spiffe_id: str,
        *,
        key: Key | None = None,
        not_before: datetime | None = None,
        lifetime: timedelta = HOUR,
    ) -> Credential:
        """Issue a leaf whose one name is a SPIFFE ID."""
        name = x509.UniformResourceIdentifier(spiffe_id)
        return self.leaf([name], key=key, not_before=not_before, lifetime=lifetime)

    def chain(self) -> list[str]:
        """Give the PEM texts from this authority up to its root."""
        return [pem(self.certificate), *(self.parent.chain() if self.parent else [])]


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _template(
    subject: x509.Name, issuer: x509.Name, key: Key, start: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
    )


def _ca_template(subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - timedelta(days=1)
    return (
        _template(subject, issuer, key, start, timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _leaf_extensions(names: Sequence[x509.GeneralName]) -> list[tuple[x509.ExtensionType, bool]]:
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return [
        (x509.SubjectAlternativeName(names), True),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(ca=False), True),
        (purposes, False),
    ]


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(template: x509.CertificateBuilder, key: Key, issuer_key: Key) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return template.add_extension(issuer, critical=False).sign(issuer_key, hashes.SHA256())
