"""Whose end a cancellation is."""

import asyncio


def is_own_end() -> bool:
    """Tell whether the running task is being cancelled, or has only heard of somebody else's cancellation.

    Libraries pass on those of their own work: aiohttp to who waits in a session that is closed (connector.py).
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
