"""Health, for orchestrators and for people: readiness is a set of named parts that are still pending."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BackendState:
    """What the last look at a backend showed.

    Attributes:
        up: Whether it could sign.
        reason: Why not; empty while it is up.
        not_after: When its signing chain ends, Unix seconds, where known.
    """

    up: bool
    reason: str = ""
    not_after: float | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """One more line of the report: something that goes on beside the requests."""

    well: bool
    text: str


class BreakerState(Protocol):
    """What is shown of a breaker; ``state`` is 0 closed, 1 half-open, 2 open."""

    @property
    def state(self) -> int:
        """Its state."""
        ...

    @property
    def seconds(self) -> float:
        """How long the outage, or the calm, has lasted."""
        ...

    @property
    def reason(self) -> str:
        """The last failure."""
        ...


_STATES = ("closed", "half-open", "open")


class Health:
    """What is pending, and how the backends do.

    A part is done once and stays done: a failing backend shows in ``/readyz?verbose`` and in a metric, but taking every
    replica out of service for it would turn a slow signer into no signer.
    """

    def __init__(self, parts: tuple[str, ...]) -> None:
        self._parts = dict.fromkeys(parts, False)
        self._backends: dict[str, BackendState] = {}
        self._breakers: Callable[[], Mapping[str, BreakerState]] = dict
        self._notes: list[Callable[[], Sequence[Note]]] = []
        self._draining = False
        self._listeners: list[Callable[[bool], None]] = []

    def done(self, part: str) -> None:
        """Mark one of the named parts as done."""
        before = self.ready
        self._parts[part] = True
        if self.ready and not before:
            self._tell()

    def add_notes(self, notes: Callable[[], Sequence[Note]]) -> None:
        """Have the report show what ``notes`` gives at the time."""
        self._notes.append(notes)

    def drain(self) -> None:
        """Be unready from now on."""
        self._draining = True
        self._tell()

    def backend(self, name: str, state: BackendState) -> None:
        """Note the state of a backend."""
        self._backends[name] = state

    def backends(self) -> dict[str, BackendState]:
        """The last known state of each backend."""
        return dict(self._backends)

    def watch_breakers(self, look: Callable[[], Mapping[str, BreakerState]]) -> None:
        """Have ``look`` called for the breakers, by backend, whenever somebody asks."""
        self._breakers = look

    def breakers(self) -> Mapping[str, BreakerState]:
        """The breakers as of now."""
        return self._breakers()

    @property
    def pending(self) -> list[str]:
        """The parts that are still pending."""
        return [p for p, done in self._parts.items() if not done] + (["draining"] if self._draining else [])

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return not self.pending

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Have ``listener`` called with the new readiness whenever it changes."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self.ready)

    def report(self) -> str:
        """The text of ``/readyz?verbose``: a line a part, a line a backend, a line a breaker that is not closed."""
        lines = [f"[{'+' if done else '-'}] {part}" for part, done in self._parts.items()]
        if self._draining:
            lines.append("[-] draining")
        for name, state in sorted(self._backends.items()):
            lines.append(f"[{'+' if state.up else '!'}] backend {name}{': ' + state.reason if state.reason else ''}")
        for note in (note for notes in self._notes for note in notes()):
            lines.append(f"[{'+' if note.well else '!'}] {note.text}")
        for name, breaker in sorted(self.breakers().items()):
            if breaker.state:
                since = f"{_STATES[breaker.state]}, ill for {breaker.seconds:.0f} s"
                lines.append(f"[!] breaker of {name}: {since}: {breaker.reason}")
        return "\n".join([*lines, "ready" if self.ready else "not ready", ""])
