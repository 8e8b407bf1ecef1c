"""What a backend tells of its life beside its answers: the closed sets of events and moments, for metrics."""

from datetime import datetime
from enum import Enum
from typing import Protocol, Self


class _Told(Enum):
    """A label's value, and what it says to whoever reads the metric."""

    _value_: str
    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Take the meaning from beside the value."""
        made = object.__new__(cls)
        made._value_, made.meaning = value, meaning
        return made


class BackendEvent(_Told):
    """Things that happen in a backend and that somebody counts; values are the ``event`` label."""

    LOGIN = "login", "Vault has let us in."
    LOGIN_FAILED = "login_failed", "It has not, or did not answer; tries go on."
    LEASE_RENEWED = "lease_renewed", "The login was prolonged."
    INTERMEDIATE_ROTATED = "intermediate_rotated", "A new CA in memory has begun to sign."
    INTERMEDIATE_FAILED = "intermediate_failed", "The upstream gave no new one; the old one signs, and tries go on."
    OBJECT_ADOPTED = "object_adopted", "A retry found the first try's request, and waited for that."
    ORPHAN_DELETED = "orphan_deleted", "A request that nobody waited for any more was swept."
    WATCH_RESTARTED = "watch_restarted", "The watch of requests broke and is opened again."


class BackendMoment(_Told):
    """Moments in a backend's life that somebody watches; values are the ``moment`` label."""

    INTERMEDIATE_RENEWAL = "intermediate_renewal", "When the CA in memory is to be renewed."
    INTERMEDIATE_END = "intermediate_end", "When it ends: nothing is signed after that."
    LEASE_END = "lease_end", "When the login to Vault ends, unless it is renewed."


class Meter(Protocol):
    """Where one backend's events are counted. Never raises, never blocks."""

    def count(self, event: BackendEvent) -> None:
        """Count one event."""
        ...

    def mark(self, moment: BackendMoment, at: datetime) -> None:
        """Note when a moment is or was, UTC."""
        ...


class NoMeter:
    """Counts nothing, for whoever does not look."""

    def count(self, event: BackendEvent) -> None:
        """Drop it."""

    def mark(self, moment: BackendMoment, at: datetime) -> None:
        """Drop it."""
