"""The deny list in use: re-read while the server runs, asked at each request from memory.

A serial says nothing of who comes with a token. So it is remembered which key each serial was issued for, and a denied
serial denies that key, and only that key.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable
from pathlib import Path

from signer.authz.deny_file import DenyFile, DenyFileUnusable, Look
from signer.authz.issued import MAX_REMEMBERED, Issued, IssuedKeys
from signer.core.csr_rules import CheckedCsr
from signer.core.deny import DenyList, key_digest
from signer.core.ports import Clock
from signer.core.types import Caller, Grant

_log = logging.getLogger("istio_signer.deny")
INTERVAL = 2.0
# A full list in YAML takes half a minute of a busy machine.
_READ_SECONDS = 120.0


class DenyService:
    """Denies callers, and keeps its list up to date.

    A file that cannot be used is an error at the start. Later it is refused with the reason, and the old list stays.

    Args:
        path: The file.
        load: Reads its contents; raises BadDenyList.
        clock: For entries that end.
        remembered: Of how many certificates the key is remembered.
    """

    def __init__(
        self, path: Path, load: Callable[[bytes], DenyList], clock: Clock, remembered: int = MAX_REMEMBERED
    ) -> None:
        self._file = DenyFile(path, load)
        self._path = path
        self._clock = clock
        self._list = DenyList()
        self._issued = IssuedKeys(remembered)
        self._told = Look()
        self._reading: asyncio.Future[Look] | None = None

    @property
    def refused(self) -> bool:
        """Whether the list in use is not what the file holds, since that cannot be used."""
        return bool(self._told.fault)

    def entries(self) -> dict[str, int]:
        """Count the entries in use by kind, those that have ended included."""
        return {kind: len(table) for kind, table in self._list.entries.items()}

    async def start(self) -> None:
        """Read the file for the first time.

        Raises:
            DenyFileUnusable: There is no list: nobody can tell who must be refused.
        """
        look = await self._look()
        look.usable()
        self._take(look)

    async def run(self) -> None:
        """Look at the file for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        """Look once; whatever is found, there is a list that works."""
        try:
            look = await self._look()
        except DenyFileUnusable as error:
            look = Look(fault=str(error))
        except Exception as error:  # noqa: BLE001  a bug in reading must not end the list in use
            # Frames only: the message may quote anything.
            frames = "".join(traceback.format_tb(error.__traceback__))
            look = Look(fault=f"{self._path}: bug: {type(error).__name__}\n{frames}")
        if look != self._told:
            self._take(look)

    async def _look(self) -> Look:
        """In a thread, since a volume may hang; then the next look waits for the same one."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().run_in_executor(None, self._file.look)
        done, _ = await asyncio.wait({self._reading}, timeout=_READ_SECONDS)
        if not done:
            raise DenyFileUnusable(f"{self._path}: reading it hangs")
        reading, self._reading = self._reading, None
        return reading.result()

    def _take(self, look: Look) -> None:
        self._told = look
        if look.denied is None:
            _log.error("the deny file is refused, the old list stays:\n%s", look.fault)
            return
        self._list = look.denied
        unknown = self._issued.deny(n for n in look.denied.entries["serial"] if isinstance(n, int))
        counts = ", ".join(f"{count} {kind}" for kind, count in self.entries().items())
        _log.info("deny list in use: %s", counts)
        if unknown:
            _log.warning("%d denied serials were not issued by this process: deny identity, pod or key too", unknown)

    def caller_fault(self, caller: Caller) -> str | None:
        """Say why a proven caller is denied; None if it is not."""
        if not self._list:
            return None
        uid = caller.pod.uid if caller.pod else caller.issued_to or None
        return self._list.fault(self._clock.now(), identities=(caller.identity,), pod_uid=uid, serial=caller.serial)

    def order_fault(self, grant: Grant, csr: CheckedCsr) -> str | None:
        """Say why what was granted, or the CSR's key, is denied; None if neither is."""
        if not self._list:
            return None
        now, identities = self._clock.now(), (grant.caller.identity, grant.identity)
        if not (self._list.entries["key"] or self._issued.any_denied):
            return self._list.fault(now, identities=identities)
        key = key_digest(csr.parsed.key)
        return self._list.fault(now, identities=identities, key=key) or self._issued_fault(key)

    def serial_fault(self, serial: int) -> str | None:
        """Say why whoever shows this certificate of ours is denied; None if it is not."""
        return self._list.fault(self._clock.now(), serial=serial)

    def _issued_fault(self, key: str) -> str | None:
        for serial, issued in self._issued.denied_with(key):
            fault = self.serial_fault(serial)
            if fault is not None:
                return f"{fault}, issued to {issued.identity} for this key"
        return None

    def issued(self, grant: Grant, csr: CheckedCsr, serial: int) -> None:
        """Remember a certificate that is handed out."""
        self._issued.remember(serial, Issued(str(grant.identity), key_digest(csr.parsed.key)))
