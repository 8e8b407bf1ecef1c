"""Which objects are deleted together: a batch is a label, and one call removes all that carry it. Pure.

Deleting each object by itself would double the writes for every certificate. A batch is closed by count or age, and
due once each of its members is done, or has been given up for so long that nobody will adopt it any more.
"""

import secrets
from dataclasses import dataclass, field

SIZE = 100
OPEN_SECONDS = 3.0


@dataclass(slots=True)
class _Batch:
    label: str
    opened: float
    count: int = 0
    closed: bool = False
    waiting: set[str] = field(default_factory=set)
    given_up: dict[str, float] = field(default_factory=dict)


class Batches:
    """The batches of one process. Times are monotonic seconds.

    Args:
        adoptable: How long an object that was given up may still be adopted.
    """

    def __init__(self, adoptable: float) -> None:
        self._adoptable = adoptable
        self._prefix = secrets.token_hex(6)
        self._number = 0
        self._open: _Batch | None = None
        self._by_label: dict[str, _Batch] = {}
        self._of: dict[str, _Batch] = {}

    def join(self, name: str, now: float) -> str:
        """Put an object that is about to be made into the open batch; give the batch's label.

        One that is in a batch already stays there: its object carries that batch's label.
        """
        if name in self._of:
            self.wanted_again(name)
            return self._of[name].label
        batch = self._open
        if batch is None or batch.closed:
            self._number += 1
            batch = self._open = _Batch(f"{self._prefix}-{self._number}", now)
            self._by_label[batch.label] = batch
        batch.count += 1
        batch.closed = batch.count >= SIZE
        batch.waiting.add(name)
        self._of[name] = batch
        return batch.label

    def done(self, name: str) -> None:
        """An object is not needed any more."""
        batch = self._of.pop(name, None)
        if batch is not None:
            batch.waiting.discard(name)
            batch.given_up.pop(name, None)

    def give_up(self, name: str, now: float) -> None:
        """Nobody waits for an object any more, but somebody may come back for it."""
        batch = self._of.get(name)
        if batch is not None:
            batch.given_up[name] = now

    def wanted_again(self, name: str) -> None:
        """Somebody has come back for it."""
        batch = self._of.get(name)
        if batch is not None:
            batch.given_up.pop(name, None)

    def due(self, now: float) -> list[str]:
        """The labels of batches that can be deleted now."""
        for batch in list(self._by_label.values()):
            batch.closed = batch.closed or now - batch.opened >= OPEN_SECONDS
            for name in [n for n, at in batch.given_up.items() if now - at >= self._adoptable]:
                self.done(name)
        return [label for label, batch in self._by_label.items() if batch.closed and not batch.waiting]

    def all_labels(self) -> list[str]:
        """Every label that may still be on an object, for the end of the process."""
        return list(self._by_label)

    def forget(self, label: str) -> None:
        """A batch is gone."""
        self._by_label.pop(label, None)

    def __contains__(self, name: str) -> bool:
        return name in self._of
