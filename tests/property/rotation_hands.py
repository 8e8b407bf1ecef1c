"""The hands of a rotation in memory: a record and a CA directory that a step may die over, at each single effect."""

from bisect import bisect_right
from collections.abc import Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from backends.local.backend import LocalSettings
from backends.local.init import CaPlan, plan_files
from backends.local.places import CaPlace
from backends.local.rotate import LocalRotator
from signer.core.ports import Clock
from signer.core.spec import BackendContext, RotateOptions
from signer.core.trust_record import TrustRecord, decode, encode
from signer.trust.rotation.store import Change, StoreConflict
from tests.support.clock import NOW

T = TypeVar("T")
Contents = Mapping[str, bytes]


def done_at_once(step: Coroutine[Any, Any, T]) -> T:
    """Run what never waits for anything, without a loop: much faster."""
    try:
        step.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


class Died(BaseException):
    """The process is gone."""


class Fate:
    """Says at which effect the process dies; counts them."""

    def __init__(self) -> None:
        self.effects = 0
        self._last: int | None = None
        self.conflicts = 0

    def arm(self, effects: int | None) -> None:
        """Let it live through so many effects; None for all of them."""
        self._last = None if effects is None else self.effects + effects

    def strike(self) -> None:
        """Stand between two effects."""
        if self.effects == self._last:
            raise Died
        self.effects += 1


class History(Generic[T]):
    """What something was at every time."""

    def __init__(self, clock: Clock, first: T) -> None:
        self._clock = clock
        self._times = [clock.now()]
        self._values = [first]

    def put(self, value: T) -> None:
        """Change it."""
        self._times.append(self._clock.now())
        self._values.append(value)

    @property
    def newest(self) -> int:
        """The number of the newest version."""
        return len(self._values) - 1

    def version(self, moment: datetime) -> int:
        """The number of the version that was there after all that happened at the moment."""
        return max(0, bisect_right(self._times, moment) - 1)

    def __getitem__(self, version: int) -> T:
        return self._values[version]

    @property
    def now(self) -> T:
        """What it is."""
        return self._values[-1]


class DyingStore:
    """A record in memory; through JSON and back, as in any store."""

    def __init__(self, fate: Fate, clock: Clock) -> None:
        self._fate = fate
        self.history = History(clock, TrustRecord())

    async def read(self) -> TrustRecord:
        """See ``Store``."""
        return decode(encode(self.history.now))

    async def update(self, change: Change) -> None:
        """See ``Store``."""
        after = change(await self.read())
        if self._fate.conflicts:
            self._fate.conflicts -= 1
            raise StoreConflict
        self._fate.strike()
        self.history.put(after)
        self._fate.strike()


class DyingPlace:
    """A CA directory in memory; a change of several files may stop after each of them."""

    def __init__(self, fate: Fate, clock: Clock, first: Contents) -> None:
        self._fate = fate
        self.history: History[Contents] = History(clock, first)

    async def load(self) -> dict[str, bytes]:
        """See ``CaPlace``."""
        return dict(sorted(self.history.now.items()))

    async def save(self, changes: Mapping[str, bytes | None]) -> None:
        """See ``CaPlace``."""
        for name, data in changes.items():
            self._fate.strike()
            rest = {key: value for key, value in self.history.now.items() if key != name}
            self.history.put(rest if data is None else {**rest, name: data})
        self._fate.strike()

    async def close(self) -> None:
        """Nothing is open."""


class HandsOnPlace(LocalRotator):
    """The real one, over a place of the test's."""

    def __init__(self, place: CaPlace, clock: Clock, offline: Path) -> None:
        options = RotateOptions(root_directory=offline)
        super().__init__(LocalSettings(Path("unused")), BackendContext("local", clock), options)
        self._opened = place


def first_ca() -> Contents:
    """A CA as ``init`` makes it."""
    plan = CaPlan(Path("ca"), Path("root"), "cluster.local")
    return {path.name: data for path, data in plan_files(plan, NOW).items() if path.parent == plan.directory}
