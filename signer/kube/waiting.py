"""Waiting for what a watch will tell: a waiter looks again when an object of its key changes, and at no other time."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

H = TypeVar("H")


class Waiters:
    """Who waits, by key; nothing is left of those who have gone."""

    def __init__(self) -> None:
        self._of: dict[object, set[asyncio.Event]] = {}

    async def until(self, key: object, found: Callable[[], H | None], seconds: float) -> H | None:
        """Wait until ``found`` gives something, asked whenever ``key`` is woken; None when it is late."""
        with self._waiter(key) as woken:
            try:
                async with asyncio.timeout(seconds):
                    while (hit := found()) is None:
                        await woken.wait()
                        woken.clear()
                    return hit
            except TimeoutError:
                return None

    def wake(self, *keys: object) -> None:
        """Have those look again who wait for one of them."""
        for key in keys:
            for woken in self._of.get(key, ()):
                woken.set()

    def wake_all(self) -> None:
        """Have everybody look again."""
        self.wake(*self._of)

    @contextmanager
    def _waiter(self, key: object) -> Iterator[asyncio.Event]:
        woken = asyncio.Event()
        waiting = self._of.setdefault(key, set())
        waiting.add(woken)
        try:
            yield woken
        finally:
            waiting.discard(woken)
            if not waiting and self._of.get(key) is waiting:
                del self._of[key]
