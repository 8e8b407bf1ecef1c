"""Makes a root and an intermediate on disk, under the ``cacerts`` names, the root's key apart."""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from backends.held.usage import key_usage
from backends.local.files import CACERTS
from signer.core import keys
from signer.core.chain import pem
from signer.core.keys import CaPrivateKey

ROOT_KEY = "root-key.pem"
# Certificates made just now must be good on machines whose clocks lag a little.
_BACKDATE = timedelta(minutes=5)


class AlreadyThere(Exception):
    """A file that ``init`` would write exists; nothing was written."""


@dataclass(frozen=True, slots=True)
class CaPlan:
    """What to make.

    Attributes:
        directory: Gets the intermediate and its key under the ``cacerts`` names: what the signer mounts.
        root_directory: Gets the root and its key: what is taken offline.
        organization: The ``O`` of both subjects; Istio puts the trust domain there.
        password: Encrypts both keys where given.
        path_length: How many CAs may stand below the intermediate: none for a signer of leaves, one for
            ``mode: intermediate``.
    """

    directory: Path
    root_directory: Path
    organization: str
    key_type: str = "p256"
    root_ttl: timedelta = timedelta(days=3650)
    intermediate_ttl: timedelta = timedelta(days=365)
    password: bytes | None = None
    path_length: int = 0


@dataclass(frozen=True, slots=True)
class _Certified:
    certificate: x509.Certificate
    key: CaPrivateKey


def init_ca(plan: CaPlan, now: datetime) -> list[Path]:
    """Make both CAs and write them; keys are readable by their owner only.

    Returns:
        The paths written.

    Raises:
        AlreadyThere: A file exists.
        OSError: A file cannot be written.
    """
    contents = plan_files(plan, now)
    taken = [path for path in contents if path.exists()]
    if taken:
        raise AlreadyThere(f"{taken[0]} exists; choose another directory or move the old CA away first")
    for directory in (plan.directory, plan.root_directory):
        # Parents that mkdir makes on the way get the umask's mode, not the one given.
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, data in contents.items():
        _write_new(path, data)
    return list(contents)


def plan_files(plan: CaPlan, now: datetime) -> dict[Path, bytes]:
    """Make keys and certificates in memory: path -> contents."""
    encryption: KeySerializationEncryption = NoEncryption()
    if plan.password:
        encryption = BestAvailableEncryption(plan.password)
    root = _certify(plan, "Root CA", None, now + plan.root_ttl, now)
    end = min(now + plan.intermediate_ttl, root.certificate.not_valid_after_utc)
    intermediate = _certify(plan, "Intermediate CA", root, end, now)
    certificate, anchor = pem(intermediate.certificate).encode(), pem(root.certificate).encode()
    return {
        plan.root_directory / ROOT_KEY: _key_pem(root.key, encryption),
        plan.root_directory / CACERTS.roots: anchor,
        plan.directory / CACERTS.roots: anchor,
        plan.directory / CACERTS.chain: certificate + anchor,
        plan.directory / CACERTS.certificate: certificate,
        plan.directory / CACERTS.key: _key_pem(intermediate.key, encryption),
    }


def _certify(plan: CaPlan, title: str, issuer: _Certified | None, end: datetime, now: datetime) -> _Certified:
    """Make one CA certificate (RFC 5280 section 4.2.1): self-signed without an issuer."""
    key = keys.generate(plan.key_type)
    subject = _name(plan.organization, title)
    signing_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=plan.path_length if issuer else None), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    return _Certified(builder.sign(signing_key, keys.signing_hash(signing_key)), key)


def _name(organization: str, title: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, title),
        ]
    )


def _key_pem(key: CaPrivateKey, encryption: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _write_new(path: Path, data: bytes) -> None:
    """Create, never overwrite; the mode is set at creation so that a key is at no moment readable by others."""
    mode = 0o600 if "key" in path.name else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
