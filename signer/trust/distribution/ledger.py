"""Which namespaces hold what they should, and what to write next: a state without any I/O.

Namespaces wait in line once, however often they change. One that somebody else keeps overwriting is left
alone for a while, so that two writers do not chase each other.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from signer.core.chain import TrustBundle
from signer.trust.distribution.objects import Held

# Repairs of one namespace within so many seconds after which another writer is suspected.
QUARREL_REPAIRS, QUARREL_SECONDS = 5, 60.0
FIRST_PAUSE, LAST_PAUSE = 0.2, 60.0
QUARREL_PAUSE = 10.0


@dataclass(slots=True)
class _Place:
    held: Held | None = None
    known: bool = False
    queued: bool = False
    writing: bool = False
    failures: int = 0
    repairs: int = 0
    since: float = 0.0


class Ledger:
    """The namespaces, and a line of those to be written.

    Args:
        wanted: Gives the bundle that a namespace must hold.
    """

    def __init__(self, wanted: Callable[[str], TrustBundle]) -> None:
        self._wanted = wanted
        self._places: dict[str, _Place] = {}
        self._line: deque[str] = deque()

    def namespaces(self, names: set[str]) -> None:
        """All namespaces that are to hold roots, as of now."""
        for name in self._places.keys() - names:
            self._places[name].known = False
        for name in sorted(names):
            self.appeared(name)

    def appeared(self, name: str) -> None:
        """A namespace is to hold roots."""
        self._place(name).known = True
        self._judge(name)

    def vanished(self, name: str) -> None:
        """A namespace is gone, or going."""
        place = self._places.get(name)
        if place is not None:
            place.known = False
            self._forget(name)

    def maps(self, held: dict[str, Held]) -> None:
        """All ConfigMaps, as of now, by namespace."""
        for name, place in list(self._places.items()):
            place.held = held.get(name)
        for name, one in held.items():
            self._place(name).held = one
        self.judge_all()

    def map_changed(self, name: str, held: Held | None) -> None:
        """A ConfigMap has another content, or is gone."""
        self._place(name).held = held
        self._judge(name)
        self._forget(name)

    def judge_all(self) -> None:
        """The bundle has changed: look at every namespace again."""
        for name in list(self._places):
            self._judge(name)
            self._forget(name)

    def take(self) -> tuple[str, Held | None] | None:
        """Give the next namespace to be written, with what it holds; None where none is."""
        while self._line:
            name = self._line.popleft()
            place = self._places.get(name)
            if place is None:
                continue
            place.queued = False
            if not place.writing and self._differs(name, place):
                place.writing = True
                return name, place.held
            self._forget(name)
        return None

    def written(self, name: str, held: Held, now: float) -> float:
        """A write has worked at ``now`` (monotonic seconds).

        Returns:
            Zero; or, where somebody else seems to keep overwriting it, the seconds to leave it alone before ``retry``.
        """
        place = self._place(name)
        place.failures = 0
        if now - place.since > QUARREL_SECONDS:
            place.since, place.repairs = now, 0
        place.repairs += 1
        # The watch may have told of something later already; its versions only grow.
        if place.held is None or _later(held.version, place.held.version):
            place.held = held
        if place.repairs >= QUARREL_REPAIRS:
            return QUARREL_PAUSE
        self.retry(name)
        return 0.0

    def failed(self, name: str) -> float:
        """A write has failed; give the seconds to leave it alone before ``retry``."""
        place = self._place(name)
        place.failures += 1
        return float(min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(place.failures - 1, 10)))

    def retry(self, name: str) -> None:
        """Put a namespace in line again, if it still needs it."""
        self._place(name).writing = False
        self._judge(name)
        self._forget(name)

    @property
    def pending(self) -> int:
        """Namespaces that do not hold what they should."""
        return sum(self._differs(name, place) for name, place in self._places.items())

    @property
    def total(self) -> int:
        """Namespaces that are to hold roots."""
        return sum(place.known for place in self._places.values())

    @property
    def idle(self) -> bool:
        """Whether nothing waits in line."""
        return not self._line

    def _place(self, name: str) -> _Place:
        return self._places.setdefault(name, _Place())

    def _differs(self, name: str, place: _Place) -> bool:
        if not place.known:
            return False
        wanted = self._wanted(name)
        # Before any root is known there is nothing to say, least of all that nobody is to be trusted.
        return bool(wanted.roots) and (place.held is None or place.held.digest != wanted.digest)

    def _judge(self, name: str) -> None:
        place = self._places.get(name)
        if place is not None and not place.queued and not place.writing and self._differs(name, place):
            place.queued = True
            self._line.append(name)

    def _forget(self, name: str) -> None:
        """Keep nothing of a namespace that is neither there nor holds anything."""
        place = self._places.get(name)
        if place is not None and not place.known and place.held is None and not place.writing:
            del self._places[name]


def _later(version: str, than: str) -> bool:
    """Compare resourceVersions (KEP-5504: decimal numbers that only grow); where they are not, believe the answer."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return True
