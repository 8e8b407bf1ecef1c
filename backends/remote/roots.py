"""Roots from a file, for signers that do not tell theirs; re-read when its contents change."""

import asyncio
import logging
from pathlib import Path

from cryptography import x509

from backends.patience import Hanging, PatientThread
from signer.core.chain import is_ca
from signer.core.parsing import parse_certificates
from signer.core.spec import Finding

_log = logging.getLogger("istio_signer.backend.roots")
MAX_BYTES = 1024 * 1024
READ_SECONDS = 5.0


class UnusableRoots(Exception):
    """The file holds no usable roots; the message names it and says why."""


def read_roots(path: Path) -> tuple[x509.Certificate, ...]:
    """Read a PEM file of CA certificates.

    Raises:
        UnusableRoots: It cannot be read or parsed, or holds something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnusableRoots(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise UnusableRoots(f"{path}: over {MAX_BYTES} bytes")
    try:
        roots = parse_certificates(data)
    except ValueError:
        raise UnusableRoots(f"{path}: holds no PEM certificate, or a broken one") from None
    if not all(map(is_ca, roots)):
        raise UnusableRoots(f"{path}: holds a certificate that is no CA's")
    return tuple(roots)


def check_roots(path: Path | None, backend: str) -> list[Finding]:
    """What ``istio-signer check`` says of the file of a backend."""
    where = f"backends.{backend}.roots_file"
    if path is None:
        return []
    try:
        return [Finding("ok", where, f"{len(read_roots(path))} root(s)")]
    except UnusableRoots as error:
        return [Finding("error", where, str(error))]


class RootsFile:
    """A file of roots, kept up to date; a bad one leaves what was read before, and is told once."""

    def __init__(self, path: Path | None, backend: str) -> None:
        self._path = path
        self._backend = backend
        self._thread = PatientThread(READ_SECONDS)
        self._told = ""
        self._reading: asyncio.Task[bool] | None = None
        self.roots: tuple[x509.Certificate, ...] = ()

    async def refresh(self) -> bool:
        """Read it again; tell whether the roots have changed. Never raises."""
        if self._path is None:
            return False
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(self._path))
            self._reading.add_done_callback(self._read_done)
        # Shared: whoever goes away leaves it to the others.
        return await asyncio.shield(self._reading)

    def _read_done(self, _: "asyncio.Task[bool]") -> None:
        self._reading = None

    async def _read(self, path: Path) -> bool:
        try:
            roots = await self._thread.do(lambda: read_roots(path))
        except UnusableRoots as error:
            return self._refuse(str(error))
        except Hanging as error:
            return self._refuse(f"{path}: reading it hangs: {error}")
        except Exception as error:  # noqa: BLE001  whoever follows the file must go on
            return self._refuse(f"{path}: bug: {type(error).__name__}")
        changed, self.roots, self._told = roots != self.roots, roots, ""
        return changed

    def _refuse(self, fault: str) -> bool:
        if fault != self._told:
            _log.error("backend %s: roots_file: %s", self._backend, fault)
        self._told = fault
        return False
