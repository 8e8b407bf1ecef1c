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
        now = self._clock.monotonic()
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True
