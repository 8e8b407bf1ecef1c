"""Whose requests nobody decides on: pure.

A request can be undecidable by its asker's own doing: it names a signer that nobody runs, or an approver knows no rule
for it. That says nothing of the backend, and such askers must not take the places of all others.
"""

from collections import Counter, OrderedDict

from signer.core.errors import BackendTimeout, Undecided

# Of one asker whose last request was left undecided.
FEW = 4
# Nothing at all was decided for so long, for so many askers: then it is the backend's trouble.
SILENT_SECONDS = 30.0
MIN_ASKERS = 3
MAX_REMEMBERED = 1000


class Silence:
    """What the askers of one backend have met with. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._pending: Counter[str] = Counter()
        self._left: OrderedDict[str, None] = OrderedDict()
        self._since: float | None = None
        self._askers: set[str] = set()

    def enter(self, asker: str) -> None:
        """Let one more request of an asker wait.

        Raises:
            Undecided: Its last one was left undecided, and others of it wait already.
        """
        if asker in self._left and self._pending[asker] >= FEW:
            raise Undecided(f"{FEW} requests of {asker} wait already, and nobody has decided on its last one")
        self._pending[asker] += 1

    def leave(self, asker: str) -> None:
        """One request of an asker waits no more, however it has ended."""
        self._pending[asker] -= 1
        if not self._pending[asker]:
            del self._pending[asker]

    def decided(self, asker: str) -> None:
        """Somebody has decided on a request."""
        self._since = None
        self._askers.clear()
        self._left.pop(asker, None)

    def undecided(self, asker: str, text: str, now: float) -> BackendTimeout:
        """Nobody has decided on a request in time; give the error that says whose trouble that is."""
        self._left[asker] = None
        self._left.move_to_end(asker)
        if len(self._left) > MAX_REMEMBERED:
            self._left.popitem(last=False)
        if self._since is None:
            self._since = now
        if len(self._askers) < MIN_ASKERS:
            self._askers.add(asker)
        silent = now - self._since
        if silent >= SILENT_SECONDS and len(self._askers) >= MIN_ASKERS:
            return BackendTimeout(f"{text}; nothing at all was decided for {silent:.0f} s")
        return Undecided(text)
