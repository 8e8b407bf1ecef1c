"""Duties that one replica at a time has: begun when it leads, cancelled when it does no longer."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from signer.core.ports import Leads

TICK = 0.2


class Alone:
    """The leadership of a replica that has no rivals."""

    leads = True


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
