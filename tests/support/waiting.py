"""Letting other tasks run: by events and turns of the loop, never by a guess at how long they take."""

import asyncio
from collections.abc import Callable

TURNS = 10_000


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop until something holds.

    Raises:
        AssertionError: It does not come to hold.
    """
    for _ in range(TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to hold")


async def settle() -> None:
    """Let every task that can run now run as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def give_up(*tasks: asyncio.Task[object]) -> None:
    """Cancel tasks and see them gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
