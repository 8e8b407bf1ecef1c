"""What stands behind each backend in the suite, and how to break and mend it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from backends.local.backend import LocalBackend, LocalSettings
from signer.core.ports import Backend
from signer.core.spec import BackendContext
from tests.corpus.answers import root
from tests.support.ca_files import cacerts, mount
from tests.support.clock import FakeClock
from tests.support.pki import make_ca


class FarSide(Protocol):
    """A backend with its far side under a test's control."""

    @property
    def backend(self) -> Backend:
        """What is under test."""
        ...

    async def prepare(self) -> None:
        """Have a CA that signs."""
        ...

    async def take_away(self) -> None:
        """Leave nothing that could sign, as after an operator's mistake before the first start."""
        ...

    async def change_issuer(self) -> None:
        """Sign with another intermediate under the same root."""
        ...

    async def change_root(self) -> None:
        """Sign under another root; the old one is trusted no more."""
        ...


class LocalFarSide:
    """A directory, mounted as Kubernetes mounts a Secret."""

    def __init__(self, directory: Path, clock: FakeClock) -> None:
        self._directory = directory / "ca"
        self.backend = LocalBackend(LocalSettings(self._directory), BackendContext("local", clock))

    async def prepare(self) -> None:
        """Mount a CA."""
        mount(self._directory, cacerts(make_ca("first", root()), [], [root()]))
        await self.backend.start()

    async def take_away(self) -> None:
        """Have no files at all."""
        await self.backend.start()

    async def change_issuer(self) -> None:
        """Mount another intermediate."""
        mount(self._directory, cacerts(make_ca("second", root()), [], [root()]))
        await self.backend.reload()

    async def change_root(self) -> None:
        """Mount another root and what it signed."""
        other = make_ca("other root")
        mount(self._directory, cacerts(make_ca("third", other), [], [other]))
        await self.backend.reload()


# Backend type -> its far side.
FAR_SIDES: dict[str, Callable[[Path, FakeClock], FarSide]] = {"local": LocalFarSide}
