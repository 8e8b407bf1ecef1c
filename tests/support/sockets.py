"""Connections that are closing: TLS says good-bye first, and a loop that ends before that leaks them."""

import asyncio


async def sockets_closed(seconds: float = 2.0) -> None:
    """Wait until nothing but the loop's own socket is left; what stays open for longer shows as a ResourceWarning."""
    selector = getattr(asyncio.get_running_loop(), "_selector", None)
    sockets = selector.get_map() if selector is not None else {}
    end = asyncio.get_running_loop().time() + seconds
    while len(sockets or ()) > 1 and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  they tell nobody
        await asyncio.sleep(0.005)
