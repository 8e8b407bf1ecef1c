"""Time for tests: it stands still until a test turns it."""

from datetime import UTC, datetime, timedelta

# In the past of every machine, so that code which looks at the real clock by mistake is caught.
NOW = datetime(2025, 6, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class FakeClock:
    """A clock whose hands only a test moves."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The wall clock."""
        return self._now

    def monotonic(self) -> float:
        """The clock of deadlines."""
        return self._monotonic

    def advance(self, by: timedelta | float) -> None:
        """Let time pass on both clocks."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self._now += step
        self._monotonic += step.total_seconds()

    def set(self, now: datetime) -> None:
        """Have the wall clock jump, as an operator or a time server makes it."""
        self._now = now
