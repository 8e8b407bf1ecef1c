"""What a backend tells of its life beside its answers: the closed sets of events and moments, for metrics."""

from datetime import datetime
from enum import Enum
from typing import Protocol


class BackendEvent(Enum):
    """Things that happen in a backend and that somebody counts; values are the ``event`` label."""

    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LEASE_RENEWED = "lease_renewed"
    INTERMEDIATE_ROTATED = "intermediate_rotated"
    INTERMEDIATE_FAILED = "intermediate_failed"
    OBJECT_ADOPTED = "object_adopted"
    ORPHAN_DELETED = "orphan_deleted"
    WATCH_RESTARTED = "watch_restarted"


class BackendMoment(Enum):
    """Moments in a backend's life that somebody watches; values are the ``moment`` label."""

    INTERMEDIATE_RENEWAL = "intermediate_renewal"
    INTERMEDIATE_END = "intermediate_end"
    LEASE_END = "lease_end"


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
