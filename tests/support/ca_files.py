"""CA directories as operators and Kubernetes make them."""

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.support.pki import Ca, Key, key_pem

CACERTS = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
TLS_SECRET = ("tls.crt", "tls.key", "tls.crt", "ca.crt")


def bundle(authorities: Sequence[Ca]) -> bytes:
    """Certificates in one file."""
    return b"".join(ca.pem for ca in authorities)


def cacerts(signer: Ca, above: Sequence[Ca], roots: Sequence[Ca]) -> dict[str, bytes]:
    """Istio's plug-in names; ``above`` are the certificates between signer and roots, in file order."""
    certificate, key, chain, root = CACERTS
    files = {certificate: signer.pem, key: key_pem(signer.key), chain: bundle([signer, *above])}
    return files | ({root: bundle(roots)} if roots else {})


def tls_secret(signer: Ca, above: Sequence[Ca], roots: Sequence[Ca]) -> dict[str, bytes]:
    """The names of a TLS Secret, as cert-manager writes it."""
    certificate, key, _, root = TLS_SECRET
    files = {certificate: bundle([signer, *above]), key: key_pem(signer.key)}
    return files | ({root: bundle(roots)} if roots else {})


def encrypted(private: Key, password: bytes) -> bytes:
    """A key under a password."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))


def write(directory: Path, files: dict[str, bytes]) -> Path:
    """Write plain files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


def mount(directory: Path, files: dict[str, bytes]) -> None:
    """Write as the kubelet mounts a Secret: names point into ``..data``, which points at a directory of its own.

    Called again it swaps ``..data`` in one step, and the directory that it pointed at goes away.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "..data"
    old = directory / os.readlink(data) if data.is_symlink() else None
    number = int(old.name.removeprefix("..v")) + 1 if old else 0
    write(directory / f"..v{number}", files)
    (directory / "..tmp").symlink_to(f"..v{number}")
    (directory / "..tmp").rename(data)
    for name in files:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    if old:
        for path in old.iterdir():
            path.unlink()
        old.rmdir()
