"""Signs with a CA key from files, re-read when their contents change.

The files are compared by content, not by time stamp: a mounted Secret is swapped by a symlink. A new set that does not
make a usable CA is refused, the reason said once, and the old one stays in use.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from backends.held.ca import HeldCa, UnusableCa
from backends.held.leaf import Template, sign_leaf
from backends.intermediate.minting import IntermediateSettings
from backends.local.ca import load_ca
from backends.local.files import Files, read_files
from backends.patience import Hanging, PatientThread
from signer.core import keys
from signer.core.errors import BackendRefused, BackendUnavailable
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, IssuerInfo, SigningRequest

_log = logging.getLogger("istio_signer.backend.local")
_SHORTEST_INTERVAL = 0.1
_READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Keys of a ``type: local`` backend.

    Attributes:
        directory: Holds the CA under ``cacerts`` or TLS-secret names.
        key_password_file: The password of an encrypted key; surrounding white space is dropped.
        reload_interval: How often the files are compared with what is in use; at least 0.1 s.
        mode: ``direct`` signs leaves with the key from the files, ``intermediate`` with a P-256 CA in memory that it
            signed, so that a slow key costs nothing per leaf.
        intermediate: For ``mode: intermediate``.
    """

    directory: Path
    key_password_file: Path | None = None
    reload_interval: timedelta = timedelta(seconds=1)
    mode: Literal["direct", "intermediate"] = "direct"
    intermediate: IntermediateSettings = field(default_factory=IntermediateSettings)


@dataclass(frozen=True, slots=True)
class _InUse:
    """A CA with what is the same for all of its leaves, made once."""

    ca: HeldCa
    template: Template
    info: IssuerInfo


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last contents looked at and what was wrong with them; the same fault is told once."""

    digest: str = ""
    fault: str = "the CA has not been read yet"


class LocalBackend:
    """A CA whose key this process holds."""

    def __init__(self, settings: LocalSettings, context: BackendContext) -> None:
        self.name = context.name
        self.answers_at_once = True
        self._settings = settings
        self._clock = context.clock
        self._in_use: _InUse | None = None
        self._seen = _Seen()
        self._thread = PatientThread(_READ_SECONDS)
        self._callbacks: list[Callable[[], None]] = []

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Sign a leaf; the key is in memory, so nothing is awaited.

        Raises:
            BackendUnavailable: No usable CA was ever read.
            BackendRefused: The signing key cannot sign.
        """
        in_use = self._current()
        try:
            leaf = sign_leaf(in_use.template, request)
        except ValueError as error:
            raise BackendRefused(f"the certificate cannot be made: {type(error).__name__}") from None
        return IssuedChain(leaf, in_use.ca.chain)

    async def issuer(self) -> IssuerInfo:
        """Describe the CA in use.

        Raises:
            BackendUnavailable: There is none.
        """
        return self._current().info

    async def probe(self) -> None:
        """Check that there is a CA, and that newer files have not been refused.

        Raises:
            BackendUnavailable: There is none, it has ended, or it is not the one in the files: it still signs, but
                somebody should look.
        """
        end = self._current().ca.window[1]
        if self._clock.now() >= end:
            raise BackendUnavailable(f"the CA in {self._settings.directory} ended at {end.isoformat()}")
        if self._seen.fault:
            raise BackendUnavailable(f"an older CA signs, since the files are refused: {self._seen.fault}")

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called after each swap of the CA."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Read the files once."""
        await self.reload()

    async def run(self) -> None:
        """Compare the files with what is in use, for ever."""
        while True:
            await asyncio.sleep(max(_SHORTEST_INTERVAL, self._settings.reload_interval.total_seconds()))
            await self.reload()

    async def close(self) -> None:
        """Drop the key."""
        self._in_use = None
        self._seen = _Seen(fault="the backend is closed")

    def ca(self) -> HeldCa:
        """The CA in use.

        Raises:
            BackendUnavailable: No usable one was ever read.
        """
        return self._current().ca

    def _current(self) -> _InUse:
        if self._in_use is None:
            raise BackendUnavailable(self._seen.fault)
        return self._in_use

    async def reload(self) -> None:
        """Read the files; swap the CA in if they are new and good. In a thread: a disk may hang."""
        directory, password_file = self._settings.directory, self._settings.key_password_file
        digest = ""
        try:
            files = await self._thread.do(lambda: read_files(directory, password_file))
            digest = files.digest
            await self._look_at(files)
        except UnusableCa as error:
            self._refuse(digest, str(error))
        except Hanging as error:
            self._refuse(digest, f"{directory}: reading it hangs: {error}")
        except Exception as error:  # noqa: BLE001  whatever a file can cause, the CA in use stays
            self._refuse(digest, f"{directory}: cannot be read ({type(error).__name__})")

    async def _look_at(self, files: Files) -> None:
        # A refused set is judged again each time: a certificate that is not valid yet may be so a second later.
        if files.digest == self._seen.digest and not self._seen.fault:
            return
        now = self._clock.now()
        self._use(await self._thread.do(lambda: load_ca(files, now)), files)

    def _use(self, ca: HeldCa, files: Files) -> None:
        info = IssuerInfo(ca.bundle.roots, ca.chain, ca.window, configured=True)
        self._in_use = _InUse(ca, Template.of(ca), info)
        self._seen = _Seen(files.digest, "")
        _log.info(
            "backend %s: CA %s in use, key %s, valid to %s, %d root(s)",
            self.name,
            ca.certificate.subject.rfc4514_string(),
            keys.describe(ca.key.public_key()),
            ca.window[1].isoformat(),
            len(ca.bundle.roots),
        )
        for note in ca.notes:
            _log.warning("backend %s: %s", self.name, note)
        for callback in self._callbacks:
            callback()

    def _refuse(self, digest: str, fault: str) -> None:
        if (digest, fault) == (self._seen.digest, self._seen.fault):
            return
        self._seen = _Seen(digest, fault)
        kept = "the CA in use stays" if self._in_use else "nothing can be signed until it is mended"
        _log.error("backend %s: new CA files refused, %s: %s", self.name, kept, fault)
