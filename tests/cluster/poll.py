"""Waiting for something outside the process, with a deadline instead of a hopeful sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(probe: Callable[[], Found | None], *, deadline: float, what: str, interval: float = 0.05) -> Found:
    """Call `probe` every `interval` seconds until it returns something true, and return that.

    Raises:
        TimeoutError: `probe` found nothing within `deadline` seconds; the text says `what` was awaited.
    """
    end = time.monotonic() + deadline
    while True:
        if found := probe():
            return found
        if time.monotonic() >= end:
            raise TimeoutError(f"waited {deadline:g} s for {what}")
        time.sleep(interval)
