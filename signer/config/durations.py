"""Durations as people write them: ``90s``, ``1h30m``, ``7d``."""

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
# More would overflow a certificate's dates long before it made sense.
MAX_SECONDS = 100 * 366 * 86400.0


def parse_duration(value: object) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: It has no unit, is negative, or longer than a century.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise ValueError(f"write a duration with its unit, such as 90s, 15m, 1h30m or 7d; this is {value!r:.40}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    if seconds > MAX_SECONDS:
        raise ValueError(f"{value} is longer than a century")
    return timedelta(seconds=seconds)


def show_duration(duration: timedelta) -> str:
    """Write a duration for people: ``1d2h``, ``45m``, ``30s``, with its two largest units."""
    seconds = int(duration.total_seconds())
    if seconds < 0:
        return f"-{show_duration(-duration)}"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
