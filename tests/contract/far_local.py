"""The local backend: a directory, mounted as Kubernetes mounts a Secret."""

from datetime import timedelta
from pathlib import Path

from backends.intermediate.minting import IntermediateSettings
from backends.local.backend import LocalSettings
from backends.local.spec import build
from signer.core.spec import BackendContext
from tests.contract.far_side import Stage
from tests.contract.waiting import Changes
from tests.corpus.answers import root
from tests.support.ca_files import cacerts, mount
from tests.support.clock import FakeClock
from tests.support.pki import Ca, make_ca


class LocalFarSide:
    """Either mode."""

    def __init__(self, stage: Stage, settings: LocalSettings) -> None:
        self.clock = FakeClock()
        self._directory = settings.directory
        self.backend = build(settings, BackendContext("local", self.clock))

    async def prepare(self) -> None:
        """Mount a CA."""
        self._mount(make_ca("first", root()), root())
        await self.backend.start()

    async def take_away(self) -> None:
        """Have no files at all."""
        await self.backend.start()

    async def mend(self) -> None:
        """Mount a CA."""
        await self._change(make_ca("first", root()), root())

    async def change_issuer(self) -> None:
        """Mount another intermediate."""
        await self._change(make_ca("second", root()), root())

    async def change_root(self) -> None:
        """Mount another root and what it signed."""
        other = make_ca("other root")
        await self._change(make_ca("third", other), other)

    async def refuse(self) -> None:
        """Nobody here decides."""
        raise NotImplementedError

    async def stall(self) -> None:
        """Nobody here is waited for."""
        raise NotImplementedError

    async def left(self) -> int:
        """It makes no objects."""
        return 0

    def _mount(self, ca: Ca, anchor: Ca) -> None:
        mount(self._directory, cacerts(ca, [], [anchor]))

    async def _change(self, ca: Ca, anchor: Ca) -> None:
        changes = Changes(self.backend, self.clock)
        await changes.note()
        self._mount(ca, anchor)
        await changes.seen()


def direct(stage: Stage) -> LocalFarSide:
    """Signs with the key from the files."""
    return LocalFarSide(stage, _settings(stage.folder))


def intermediate(stage: Stage) -> LocalFarSide:
    """Signs with a CA in memory."""
    settings = IntermediateSettings(new_root_delay=timedelta(0))
    given = _settings(stage.folder)
    return LocalFarSide(stage, LocalSettings(given.directory, None, given.reload_interval, "intermediate", settings))


def _settings(folder: Path) -> LocalSettings:
    return LocalSettings(folder / "ca", reload_interval=timedelta(seconds=0.1))
