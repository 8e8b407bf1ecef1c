"""How much may be in flight: a cap with a short, bounded wait in front of it."""

import asyncio

from signer.core.errors import Overloaded


class Admission:
    """Counts requests in and out: ``async with admission:`` holds one place.

    Args:
        limit: Requests in flight.
        waiting: Requests that may wait for a place; further ones are refused at once.
        patience: How long one waits, in seconds.
    """

    def __init__(self, limit: int, waiting: int, patience: float) -> None:
        self._limit = limit
        self._max_waiting = waiting
        self._patience = patience
        self._places = asyncio.Semaphore(limit)
        self._waiting = 0
        self.in_flight = 0

    async def __aenter__(self) -> None:
        """Take a place, given back at exit.

        Raises:
            Overloaded: No place came free in time.
        """
        if not self._places.locked():
            await self._places.acquire()
        elif self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._limit} requests are in flight and {self._waiting} wait")
        else:
            await self._wait()
        self.in_flight += 1

    async def __aexit__(self, *_: object) -> None:
        self.in_flight -= 1
        self._places.release()

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(f"no place came free within {self._patience} s") from None
        finally:
            self._waiting -= 1
