"""A token bucket: so many calls a second on average, and so many at once after a pause."""

from signer.core.ports import Clock


class TokenBucket:
    """Counts by the monotonic clock; a clock that stands still or jumps on the wall changes nothing.

    Args:
        rate: Tokens a second.
        burst: The most that it holds; it starts full.
        clock: Time.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._clock = clock
        self._level = self._burst
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Take one token, if there is one."""
        if not self.ready:
            return False
        self._level -= 1.0
        return True

    @property
    def ready(self) -> bool:
        """Whether there is a token to take."""
        return self._now() >= 1.0

    @property
    def full(self) -> bool:
        """Whether it holds all that it can, as a new one does."""
        return self._now() >= self._burst

    def _now(self) -> float:
        """Let in what has come since it was looked at last; give the tokens there are."""
        now = self._clock.monotonic()
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._level
