"""Health, for orchestrators and for people: readiness is a set of named parts that are still pending."""

from collections.abc import Callable
from dataclasses import dataclass


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


class Health:
    """What is pending, and how the backends do.

    A part is done once and stays done: a failing backend shows in ``/readyz?verbose`` and in a metric, but taking every
    replica out of service for it would turn a slow signer into no signer.
    """

    def __init__(self, parts: tuple[str, ...]) -> None:
        self._parts = dict.fromkeys(parts, False)
        self._backends: dict[str, BackendState] = {}
        self._draining = False
        self._listeners: list[Callable[[bool], None]] = []

    def done(self, part: str) -> None:
        """Mark one of the named parts as done."""
        before = self.ready
        self._parts[part] = True
        if self.ready and not before:
            self._tell()

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
        """The text of ``/readyz?verbose``: a line a part, then a line a backend."""
        lines = [f"[{'+' if done else '-'}] {part}" for part, done in self._parts.items()]
        if self._draining:
            lines.append("[-] draining")
        for name, state in sorted(self._backends.items()):
            lines.append(f"[{'+' if state.up else '!'}] backend {name}{': ' + state.reason if state.reason else ''}")
        return "\n".join([*lines, "ready" if self.ready else "not ready", ""])
