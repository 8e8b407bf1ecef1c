"""How much may be in flight: a cap with a short, bounded wait in front of it."""

import asyncio
from collections.abc import Callable

from signer.core.errors import Overloaded, SignerError


class Admission:
    """Counts requests in and out: ``async with admission:`` holds one place.

    Args:
        limit: Requests in flight.
        waiting: Requests that may wait for a place; further ones are refused at once.
        patience: How long one waits, in seconds.
        refusal: Made of the reason where no place comes free.
    """

    def __init__(
        self, limit: int, waiting: int, patience: float, refusal: Callable[[str], SignerError] = Overloaded
    ) -> None:
        self._limit = limit
        self._max_waiting = waiting
        self._patience = patience
        self._refusal = refusal
        self._places = asyncio.Semaphore(limit)
        self._waiting = 0
        self.in_flight = 0

    async def __aenter__(self) -> None:
        """Take a place, given back at exit. Raises as ``enter`` does."""
        await self.enter(self._patience)

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    async def enter(self, patience: float) -> None:
        """Take a place, to be given back with ``leave``.

        Raises:
            Overloaded: No place came free in time; or whatever ``refusal`` makes.
        """
        if not self._places.locked():
            await self._places.acquire()
        elif self._waiting >= self._max_waiting:
            raise self._refusal(f"{self._limit} requests are in flight and {self._waiting} wait")
        else:
            await self._wait(patience)
        self.in_flight += 1

    def leave(self) -> None:
        """Give a place back."""
        self.in_flight -= 1
        self._places.release()

    async def _wait(self, patience: float) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(patience):
                await self._places.acquire()
        except TimeoutError:
            raise self._refusal(f"no place came free within {patience:.3g} s") from None
        finally:
            self._waiting -= 1
