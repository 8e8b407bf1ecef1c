"""A CA's files, read whole; ``backends.local.ca`` judges them.

Two sets of names are understood: ``cacerts`` (Istio's plug-in CA: ca-cert.pem, ca-key.pem, cert-chain.pem,
root-cert.pem) and those of a TLS Secret (tls.crt, tls.key, ca.crt), as cert-manager writes them.
"""

import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from backends.held.ca import UnusableCa

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Names:
    """The file names of one convention; ``chain`` may be the same file as ``certificate``."""

    certificate: str
    key: str
    chain: str
    roots: str


CACERTS = Names("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
TLS_SECRET = Names("tls.crt", "tls.key", "tls.crt", "ca.crt")


@dataclass(frozen=True, slots=True)
class Files:
    """The contents of one CA directory as of one moment."""

    names: Names
    contents: dict[str, bytes]
    password: bytes | None

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents: equal digests, equal CA."""
        return _digest(self.contents, self.password)


def _digest(contents: dict[str, bytes], password: bytes | None) -> str:
    whole = sha256(password or b"")
    for name, data in sorted(contents.items()):
        whole.update(f"\0{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()


def read_files(directory: Path, password_file: Path | None) -> Files:
    """Read a CA directory whole.

    Raises:
        UnusableCa: The directory or a needed file is missing, too large or unreadable.
    """
    password = _read(password_file).strip() if password_file else None
    for attempt in (1, 2):
        try:
            return _read_version(_version(directory), directory, password)
        except UnusableCa:
            # The version that was being read may have been swapped away under the hand; then there is a new one.
            if attempt == 2:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _version(directory: Path) -> Path:
    """The directory that a mounted Secret's ``..data`` points at now: read by its names, two versions could mix."""
    mounted = directory / "..data"
    return directory / mounted.readlink() if mounted.is_symlink() else directory


def _read_version(version: Path, directory: Path, password: bytes | None) -> Files:
    names = _convention(version, directory)
    wanted = dict.fromkeys((names.certificate, names.key, names.chain, names.roots))
    found = {name: _read(version / name) for name in wanted if (version / name).exists()}
    return Files(names, found, password)


def _convention(version: Path, directory: Path) -> Names:
    for names in (CACERTS, TLS_SECRET):
        if (version / names.key).exists():
            return names
    raise UnusableCa(
        f"{directory}: neither {CACERTS.key} nor {TLS_SECRET.key} is there; mount the CA's Secret there, "
        f"or make a CA with: istio-signer init --directory {directory}"
    )


def _read(path: Path) -> bytes:
    try:
        # Not blocking: a pipe in the place of a file must not hold the reader for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnusableCa(f"{path}: not a regular file")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnusableCa(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise UnusableCa(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return data
