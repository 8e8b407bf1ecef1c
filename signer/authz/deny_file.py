"""The file with the deny list: read when it changes, refused whole where it is wrong.

It is looked at by its inode, size and times, through links, so that the swap of a mounted ConfigMap's ``..data`` is a
change; and then by its contents.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from signer.core.deny import BadDenyList, DenyList

MAX_FILE_BYTES = 16 * 1024 * 1024
_Signs: TypeAlias = tuple[int, ...]


class DenyFileUnusable(Exception):
    """There is no list to go by; the message names the file and the fault."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the file was found to be.

    Attributes:
        digest: SHA-256 of the contents; empty where there are none.
        denied: The list; None where the file cannot be used.
        fault: Why not.
    """

    digest: str = ""
    denied: DenyList | None = field(default=None, compare=False)
    fault: str = ""

    def usable(self) -> DenyList:
        """Give the list.

        Raises:
            DenyFileUnusable: There is none.
        """
        if self.denied is None:
            raise DenyFileUnusable(self.fault)
        return self.denied


class DenyFile:
    """One file. All of it blocks: to be used from a thread, one call at a time.

    Args:
        path: The file, or a link to it.
        load: Reads contents; raises BadDenyList.
    """

    def __init__(self, path: Path, load: Callable[[bytes], DenyList]) -> None:
        self._path = path
        self._load = load
        self._signs: _Signs = ()
        self._sure = False
        self._read = Look()

    def look(self) -> Look:
        """Look at the file; contents that were judged before are not judged again."""
        try:
            signs = self._look_at(self._path)
            # Two writes of the same size within one tick of the file system's clock look the same: read once more.
            unchanged = signs == self._signs
            if not (unchanged and self._sure):
                self._judge(self._contents())
            self._signs, self._sure = signs, unchanged
        except OSError as error:
            return self._unread(f"cannot be read: {error.strerror}")
        except DenyFileUnusable as error:
            return self._unread(str(error))
        return self._read

    def _unread(self, fault: str) -> Look:
        self._signs = ()
        return Look(fault=f"{self._path}: {fault}")

    def _look_at(self, path: Path) -> _Signs:
        found = path.stat()
        # A pipe would hold the reader for ever.
        if not stat.S_ISREG(found.st_mode):
            raise DenyFileUnusable("is no file")
        if found.st_size > MAX_FILE_BYTES:
            raise DenyFileUnusable(_too_large())
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _contents(self) -> bytes:
        # It may have become a pipe since.
        with open(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise DenyFileUnusable(_too_large())
        return data

    def _judge(self, data: bytes) -> None:
        digest = sha256(data).hexdigest()
        if digest == self._read.digest:
            return
        try:
            self._read = Look(digest, self._load(data))
        except BadDenyList as error:
            self._read = Look(digest, fault="\n".join(f"{self._path}: {line}" for line in str(error).splitlines()))


def _too_large() -> str:
    return f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB"
