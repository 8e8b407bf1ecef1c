"""The events of a watch as they come, and how it is broken off when it does not tell what it should."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from signer.kube.answer import OBJECT_BYTES, ApiUnavailable, Stream
from signer.kube.listing import Gone

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
            Gone: It brought what is too long to be read: the same would come again.
            ValueError: It brought what is no JSON.
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
    """Whole lines of up to ``OBJECT_BYTES``, put together at their end: a long one comes in many pieces."""
    pieces: list[bytes] = []
    size = 0
    async for chunk in response.chunks:
        *whole, rest = chunk.split(b"\n")
        for end in whole:
            line = b"".join([*pieces, end])
            pieces, size = [], 0
            if line:
                yield line
        pieces.append(rest)
        size += len(rest)
        if size > OBJECT_BYTES:
            raise Gone(f"an event of over {OBJECT_BYTES} bytes")
