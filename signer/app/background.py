"""Each backend's background work, begun again where it fails: a bug in one must not end what the others sign."""

import asyncio
import logging
import random
from collections.abc import Iterator

from signer.core.ports import Backend
from signer.observe.logs import frames_of

_log = logging.getLogger("istio_signer.app")
_FIRST_PAUSE = 1.0
_LAST_PAUSE = 60.0


async def keep_running(backend: Backend) -> None:
    """Run a backend's work for ever; the pauses grow while it keeps failing.

    A backend that has done without a pause for longer than the longest one starts from the shortest again.
    """
    loop, failures = asyncio.get_running_loop(), 0
    while True:
        started = loop.time()
        await _run_once(backend)
        failures = 0 if loop.time() - started > _LAST_PAUSE else failures + 1
        ceiling = min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 10))
        await asyncio.sleep(ceiling * random.uniform(0.5, 1.0))  # noqa: S311  spreads, hides nothing


async def _run_once(backend: Backend) -> None:
    try:
        await backend.run()
    except Exception as error:  # noqa: BLE001  whatever it is, it is that backend's
        for bug in _bugs(error):
            kind, frames = type(bug).__name__, frames_of(bug)
            _log.error("backend %s: bug in its background work: %s\n%s", backend.name, kind, frames)
    else:
        _log.error("backend %s: bug: its background work has ended by itself", backend.name)


def _bugs(error: Exception) -> Iterator[Exception]:
    """What a group of tasks failed of: its own frames show only where it waited."""
    if not isinstance(error, ExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _bugs(inner)
