"""The events of a watch as they come, and how it is broken off when it does not tell what it should."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from signer.kube.answer import ApiUnavailable, Stream

LINE_BYTES = 4 * 1024 * 1024
# Whoever has heard something so lately is not dead: what it has not told yet is on its way.
HEARD_SECONDS = 1.0


class EventStream:
    """Reads one stream after another, each from its opening to its end."""

    def __init__(self) -> None:
        self._heard = -math.inf
        self._reading: asyncio.Timeout | None = None
        self._silent = ""

    async def read(self, response: Stream, take: Callable[[Any], None]) -> None:
        """Give each event to ``take``, decoded, until the server ends the stream.

        Raises:
            ApiUnavailable: It broke, was silent for too long, or was broken off.
            ValueError: It brought what is no JSON, or has no end.
            Exception: What ``take`` raises.
        """
        self._heard, self._silent = time.monotonic(), ""
        try:
            async with asyncio.timeout(None) as self._reading:
                async for line in _lines(response):
                    self._heard = time.monotonic()
                    take(json.loads(line))
        except TimeoutError:
            raise ApiUnavailable(f"it was silent although {self._silent}") from None
        finally:
            self._reading = None

    def break_off(self, why: str) -> None:
        """Somebody has seen what should have been told: end what is being read, unless it has just been heard.

        A connection that is cut without a word looks like one on which nothing happens.
        """
        scope = self._reading
        if scope is None or self._silent or time.monotonic() - self._heard < HEARD_SECONDS:
            return
        self._silent = why
        scope.reschedule(asyncio.get_running_loop().time())


async def _lines(response: Stream) -> AsyncIterator[bytes]:
    """Whole lines; one that never ends is a fault."""
    rest = b""
    async for chunk in response.chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES:
            raise ValueError("an event without an end")
        for line in whole:
            if line:
                yield line
