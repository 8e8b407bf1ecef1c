"""A workload's key, CSR and certificate, as a proxy would hold them."""

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from signer.core import keys
from signer.core.chain import fingerprint
from signer.core.identity import SpiffeId


@dataclass(frozen=True, slots=True)
class KeyAndCsr:
    """A fresh key and a CSR for one identity; the key is shown to its file only."""

    key_pem: bytes = field(repr=False)
    csr: str


def new_csr(identity: SpiffeId, key_type: str) -> KeyAndCsr:
    """Make a key and a CSR shaped like ztunnel's: empty subject, one URI name.

    Raises:
        ValueError: The key type is unknown.
    """
    key = keys.generate(key_type)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(names, critical=True).sign(key, hashes.SHA256())
    return KeyAndCsr(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        request.public_bytes(Encoding.PEM).decode("ascii"),
    )


@dataclass(frozen=True, slots=True)
class Received:
    """What came back, taken apart for people."""

    chain: list[str]
    leaf: x509.Certificate
    issuers: list[x509.Certificate]
    roots: list[x509.Certificate]

    @classmethod
    def of(cls, chain: list[str]) -> "Received":
        """Parse an answer.

        Raises:
            ValueError: It is not laid out as proxies need it.
        """
        if len(chain) < 2:
            raise ValueError(f"the answer has {len(chain)} elements; proxies need a leaf and, last, the roots")
        parsed = [x509.load_pem_x509_certificates(element.encode("ascii")) for element in chain]
        return cls(chain, parsed[0][0], [p[0] for p in parsed[1:-1]], parsed[-1])

    @property
    def identities(self) -> list[str]:
        """The URI names of the leaf."""
        names = self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)

    @property
    def window(self) -> tuple[datetime, datetime]:
        """From when to when the leaf is valid, UTC."""
        return self.leaf.not_valid_before_utc, self.leaf.not_valid_after_utc

    def summary(self) -> dict[str, object]:
        """The answer in a form for programs."""
        return {
            "identities": self.identities,
            "serial": f"{self.leaf.serial_number:x}",
            "not_before": self.window[0].isoformat(),
            "not_after": self.window[1].isoformat(),
            "key": keys.describe(self.leaf.public_key()),
            "issuers": [issuer.subject.rfc4514_string() for issuer in self.issuers],
            "roots": [{"subject": r.subject.rfc4514_string(), "sha256": fingerprint(r)} for r in self.roots],
        }


def write_files(directory: Path, key_pem: bytes, received: Received) -> list[Path]:
    """Write ``key.pem`` (mode 0600), ``cert-chain.pem`` and ``root-cert.pem``, replacing what is there.

    Raises:
        OSError: A file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        "key.pem": key_pem,
        "cert-chain.pem": "".join(received.chain[:-1]).encode("ascii"),
        "root-cert.pem": received.chain[-1].encode("ascii"),
    }
    for name, data in contents.items():
        _replace(directory / name, data)
    return [directory / name for name in contents]


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    partial.rename(path)
