"""Duties that one replica at a time has: begun when it leads, cancelled when it does no longer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from signer.core.ports import Leads

TICK = 0.2
INFORM_PAUSE = 1.0


class Informed:
    """Leads once it knows what the others know: one that has slept, or has just begun, must not act on its own memory.

    Args:
        leads: The election.
        inform: Finds out; tells whether it could. Tried again until it can, and anew in each term.
    """

    def __init__(self, leads: Leads, inform: Callable[[], Awaitable[bool]]) -> None:
        self._leads = leads
        self._inform = inform
        self._informed = False

    @property
    def leads(self) -> bool:
        """Whether this replica may act now."""
        return self._informed and self._leads.leads

    async def run(self) -> None:
        """Find out at the beginning of each term, for ever."""
        await while_leading(self._leads, self._term)

    async def _term(self) -> None:
        try:
            while not await self._inform():  # noqa: ASYNC110  what it asks tells nobody when it is well
                await asyncio.sleep(INFORM_PAUSE)
            self._informed = True
            await asyncio.Event().wait()
        finally:
            self._informed = False


async def while_leading(leads: Leads, duty: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do a duty whenever we lead, for ever. What it raises is raised here."""
    while True:
        # Leadership ends by time going by, which sets no event.
        while not leads.leads:  # noqa: ASYNC110
            await asyncio.sleep(TICK)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(duty())
            while leads.leads and not work.done():  # noqa: ASYNC110
                await asyncio.sleep(TICK)
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
