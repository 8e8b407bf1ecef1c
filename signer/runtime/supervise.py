"""Root services: they run for ever, and one that ends takes the process with it, loudly."""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from signer.kube.cancellation import is_own_end

_log = logging.getLogger("istio_signer.runtime")
_LAST_SECONDS = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ServiceEnded(Exception):
    """A service that should run for ever returned."""


async def supervise(services: Mapping[str, Coroutine[Any, Any, None]], main: Awaitable[None]) -> None:
    """Run services beside ``main``; when that is done, cancel them.

    Raises:
        ExceptionGroup: A service failed or ended by itself, or ``main`` failed; all others have been cancelled.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(forever(name, work), name=name) for name, work in services.items()]
        await main
        for task in tasks:
            task.cancel()


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do ``work`` unless ``stop`` is set first; tell whether it was done."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def forever(name: str, work: Coroutine[Any, Any, None]) -> None:
    """Do work that must not end but by cancellation.

    Raises:
        ServiceEnded: It has, or has taken somebody else's cancellation for its own: a group of tasks would not notice.
    """
    try:
        await work
    except asyncio.CancelledError:
        if is_own_end():
            raise
    raise ServiceEnded(f"service {name} ended by itself")


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` at SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def heard(number: signal.Signals) -> None:
        _log.info("received %s, shutting down; once more ends at once", number.name)
        stop.set()
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in SIGNALS:
        loop.add_signal_handler(number, heard, number)


def settle() -> None:
    """Take what was loaded at start out of the garbage collector's sight, and have it look less often.

    A request makes hundreds of objects and leaves a cycle or two, of the gRPC library's; the default looks after every
    700. Calls that are large have it look by their weight (``signer.server.rpc.Ballast``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run the program on the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_call(main))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_call(main))


async def _call(main: Callable[[], Awaitable[int]]) -> int:
    code = await main()
    # The loop joins its threads when it closes, and one of them may hang on a volume that does.
    backstop = threading.Timer(_LAST_SECONDS, os._exit, (code,))
    backstop.daemon = True
    backstop.start()
    return code
