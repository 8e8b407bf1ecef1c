"""One list and one watch, for ever: all objects of a kind that match a selector, as they are and as they change.

Source: Kubernetes API concepts, "Efficient detection of changes": list, watch from its resourceVersion with bookmarks,
list again on 410 Gone.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode

from signer.core.backoff import pause_after
from signer.kube.answer import ApiUnavailable, Silence
from signer.kube.api import KubeApi
from signer.kube.event_stream import EventStream
from signer.kube.gathering import Follower
from signer.kube.listing import Gone, pages_of

_log = logging.getLogger("istio_signer.kube.watch")
PAGE = 500
OPEN_SECONDS = 10.0
# The server ends each watch about then, give or take, so that clients spread over its replicas.
WATCH_SECONDS = 300
# Bookmarks come about once a minute, where anything has ever changed: one that is silent for longer may be dead.
SILENCE_SECONDS = 90.0
# A stream that has lasted so long, or has brought an event, works.
PROVEN_SECONDS = 1.0
# A server that says "gone" twice within that time is in trouble, and must not be listed in a loop.
GONE_SECONDS = 10.0
# Between two pages of a list that is not the first: what is known serves meanwhile, and parsing one page after another
# leaves a loop under load no time for those who wait.
PAGE_PAUSE = 0.03
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 10.0


class Watch:
    """Follows one collection.

    Args:
        api: Opened by ``connect``.
        path: The collection's path.
        selector: Of labels or fields, as query parameters.
        follower: Told of everything.
        restarted: Called whenever the watch has to be opened again after a fault.
        page: Objects in one answer.
    """

    def __init__(
        self,
        api: KubeApi,
        path: str,
        selector: dict[str, str],
        follower: Follower,
        restarted: Callable[[], None] = lambda: None,
        page: int = PAGE,
    ) -> None:
        self._api = api
        self._page = page
        self._path = path
        self._selector = selector
        self._follower = follower
        self._restarted = restarted
        self._version = ""
        self._failures = 0
        self._told = ""
        self._gone = 0
        self._gone_at = -math.inf
        self._events = EventStream()
        self.synced = asyncio.Event()
        """Set once everything was listed for the first time."""
        self.fault = "nothing has been listed yet"
        self.broken_since: float | None = time.monotonic()
        self.listing_since: float | None = None
        """Since when everything is being listed: a large collection takes long, and what happens is not told then."""

    async def run(self) -> None:
        """List and watch for ever."""
        while True:
            try:
                if not self._version:
                    await self._list()
                begun = time.monotonic()
                await self._follow()
                # A server that ends each watch at once must not be asked in a loop.
                await asyncio.sleep(0.0 if time.monotonic() - begun > 1.0 else 1.0)
            except Gone as error:
                self._version = ""
                await self._list_again(str(error))
            except Silence:
                # Usual where nothing ever happens: there are no bookmarks either. Opened anew, a dead one is found.
                continue
            except ApiUnavailable as error:
                await self._failed(error)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                # What cannot be taken would come again and again.
                self._version = ""
                await self._failed(error)

    def restart(self, why: str) -> None:
        """Somebody has seen what this watch should have told: open it again, unless it has just been heard."""
        self._events.break_off(why)

    async def _list_again(self, why: str) -> None:
        """At once the first time, as is usual after a while; with pauses where it goes on."""
        self._gone = self._gone + 1 if time.monotonic() - self._gone_at < GONE_SECONDS else 1
        if self._gone == 1:
            self._restarted()
        else:
            self._failures = max(self._failures, self._gone - 2)
            await self._failed(ApiUnavailable(f"it must be listed again and again: {why}"))
        self._gone_at = time.monotonic()

    async def _failed(self, error: Exception) -> None:
        known = isinstance(error, ApiUnavailable)
        reason = str(error) if known else f"it told what is no object ({type(error).__name__})"
        self.fault = f"{self._path}: {reason}"
        if self.broken_since is None:
            self.broken_since = time.monotonic()
        if self.fault != self._told:
            self._told = self.fault
            _log.warning("watch of %s%s; it is tried again", self._api.label, self.fault)
        self._failures += 1
        self._restarted()
        await asyncio.sleep(pause_after(self._failures, _FIRST_PAUSE, _LAST_PAUSE, random.random()))  # noqa: S311  spreads calls

    def _works(self) -> None:
        self._failures, self.broken_since, self.fault, self._told = 0, None, "", ""

    async def _list(self) -> None:
        gathering = self._follower.gathering()
        self.listing_since = self.listing_since or time.monotonic()
        self.fault = self.fault or f"{self._path}: it is being listed again"
        pause = PAGE_PAUSE if self.synced.is_set() else 0.0
        version = ""
        # Closed here, where a page is not what it should be: a generator left behind is closed at some later time.
        async with aclosing(pages_of(self._api, self._path, self._selector, self._page, pause)) as pages:
            async for items, version in pages:  # noqa: B007  the last one's counts
                gathering.add(items)
        gathering.done()
        # Not before: what the follower could not take must be listed again.
        self._version = version
        self.listing_since = None
        self.synced.set()
        if not self._failures:
            self._works()

    async def _follow(self) -> None:
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311  spreads, hides nothing
        query = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(seconds)),
        }
        async with self._api.stream(f"{self._path}?{urlencode(query)}", OPEN_SECONDS, SILENCE_SECONDS) as response:
            if response.status == 410:
                raise Gone("HTTP 410")
            if response.status != 200:
                raise ApiUnavailable(f"HTTP {response.status}")
            # Not before it has lasted or brought something: one that opens and breaks at once is broken.
            proof = asyncio.get_running_loop().call_later(PROVEN_SECONDS, self._works)
            try:
                await self._events.read(response, self._event)
            finally:
                proof.cancel()

    def _event(self, event: Any) -> None:
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            # The server's way to say 410 once a watch is under way; any other error is best met by listing, too.
            raise Gone(f"{item.get('code')} {item.get('reason', '')!s:.60}")
        version = item["metadata"].get("resourceVersion")
        if kind != "BOOKMARK":
            self._follower.changed(kind, item)
        self._version = str(version or self._version)
        self._works()
