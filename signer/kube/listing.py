"""All objects of a collection, page by page.

Source: Kubernetes API concepts, "Retrieving large results sets in chunks": all pages are of one resourceVersion.
"""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import urlencode

from signer.kube.answer import Answer, ApiUnavailable, Manifest, TooLong, reason_of
from signer.kube.api import KubeApi

LIST_BYTES = 64 * 1024 * 1024
LIST_SECONDS = 20.0


class Gone(Exception):
    """The server no longer knows the resourceVersion, or tells of a fault: everything must be listed again."""


async def pages_of(
    api: KubeApi, path: str, selector: dict[str, str], size: int, pause: float
) -> AsyncGenerator[tuple[list[Manifest], str]]:
    """List a collection. Where a page is too long to be read, because somebody has made huge objects, it is asked for
    in smaller ones: whoever makes one must not keep the rest from being known.

    Args:
        api: The API server.
        path: The collection's path.
        selector: Of labels or fields, as query parameters.
        size: Objects in one page, at most.
        pause: Seconds between two pages.

    Yields:
        The objects of each page, and the resourceVersion that they are of. There is one page at least.

    Raises:
        Gone: The rest of the list is not there any more.
        ApiUnavailable: The API server gave no usable answer.
        AttributeError: The answer is no list.
    """
    token, count = "", size
    while True:
        query = {**selector, "limit": str(count)} | ({"continue": token} if token else {})
        try:
            answer = await api.call("GET", f"{path}?{urlencode(query)}", LIST_SECONDS, limit=LIST_BYTES)
        except TooLong:
            if count == 1:
                raise
            count = max(1, count // 4)
            continue
        count = min(size, count * 2)
        metadata = _success(answer).get("metadata") or {}
        token = metadata.get("continue") or ""
        yield answer.body.get("items") or [], str(metadata.get("resourceVersion") or "")
        if not token:
            return
        if pause:
            await asyncio.sleep(pause)


def _success(answer: Answer) -> Manifest:
    if answer.status == 410:
        raise Gone("HTTP 410")
    if answer.status != 200:
        raise ApiUnavailable(f"HTTP {answer.status}: {reason_of(answer)}")
    return answer.body
