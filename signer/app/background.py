"""Background work, begun again where it fails: a bug in one part must not end what the others do."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from signer.core.backoff import pause_after
from signer.kube.cancellation import is_own_end
from signer.observe.logs import frames_of

_log = logging.getLogger("istio_signer.app")
_FIRST_PAUSE = 1.0
_LAST_PAUSE = 60.0


async def keep_running(whose: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Work for ever; the pauses grow while it keeps failing.

    What has done without a pause for longer than the longest one starts from the shortest again.

    Args:
        whose: Whose work, for the log: ``backend vault``.
        run: The work.
    """
    loop, failures = asyncio.get_running_loop(), 0
    while True:
        started = loop.time()
        await _run_once(whose, run)
        failures = 0 if loop.time() - started > _LAST_PAUSE else failures + 1
        await asyncio.sleep(pause_after(failures, _FIRST_PAUSE, _LAST_PAUSE, random.random()))  # noqa: S311


async def _run_once(whose: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await run()
    except asyncio.CancelledError:
        if is_own_end():
            raise
        _log.error("%s: bug: its background work has ended by a cancellation that nobody meant for it", whose)
    except Exception as error:  # noqa: BLE001  whatever it is, it is theirs
        log_bug(whose, "its background work", error)
    else:
        _log.error("%s: bug: its background work has ended by itself", whose)


def log_bug(whose: str, where: str, error: Exception) -> str:
    """Log a bug with its frames and without its text, which may quote a secret; give what may be shown."""
    bugs = list(_bugs(error))
    for bug in bugs:
        _log.error("%s: bug in %s: %s\n%s", whose, where, type(bug).__name__, frames_of(bug))
    return f"bug in {where}: {', '.join(type(bug).__name__ for bug in bugs)}"


def _bugs(error: Exception) -> Iterator[Exception]:
    """What a group of tasks failed of: its own frames show only where it waited."""
    if not isinstance(error, ExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _bugs(inner)
