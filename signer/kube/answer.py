"""What an API server's answer is here: status, JSON object, and the two headers that count; how its body is read."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

MAX_BYTES = 1024 * 1024
# Of one object, whoever made it. The API server takes requests of up to 3 MiB (kubernetes: staging/src/k8s.io/
# apiserver/pkg/server/config.go, MaxRequestBodyBytes) and writes some characters as six (encoding/json, HTML escaping).
OBJECT_BYTES = 32 * 1024 * 1024
# An object, or whatever else of JSON the API server has sent.
Manifest = dict[str, Any]


class ApiUnavailable(Exception):
    """The API server gave no usable answer. ``final`` is False where trying again soon makes sense.

    ``retry_after`` is the number of seconds that it asked to be spared, 0 where it did not.
    """

    def __init__(self, reason: str, final: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.final = final
        self.retry_after = retry_after


class Refused(ApiUnavailable):
    """There is an answer, and it is no; the same question will have the same one."""


class TooLong(ApiUnavailable):
    """The answer is longer than the reader would have."""


class Silence(ApiUnavailable):
    """A long answer was silent for too long: nothing has happened, or the connection is dead without a word."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said: the HTTP status and the JSON object of the body.

    Attributes:
        retry_after: Seconds that it asked to be spared; 0 where it did not.
        date: Its clock, as the ``Date`` header has it.
    """

    status: int
    body: dict[str, Any]
    retry_after: float = 0.0
    date: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body comes bit by bit.

    Attributes:
        chunks: The body as it comes; raises ``ApiUnavailable`` where it breaks or is silent for too long.
    """

    status: int
    date: str
    chunks: AsyncIterator[bytes]


def reason_of(answer: Answer) -> str:
    """The API server's reason and message (kind Status), cut and quoted; it names users, verbs and resources."""
    return f"{answer.body.get('reason', '')!s:.60} {str(answer.body.get('message', ''))[:300]!a}".strip()


def is_not_found(answer: Answer, name: str) -> bool:
    """Tell whether it is the API server that says so, and of this object: what stands between has 404s of its own."""
    details = answer.body.get("details")
    told = answer.status == 404 and answer.body.get("reason") == "NotFound"
    return told and isinstance(details, dict) and details.get("name") == name


async def read_answer(response: aiohttp.ClientResponse, limit: int = MAX_BYTES, *, discard: bool = False) -> Answer:
    """Read an answer to its end.

    Args:
        response: Its status and headers are there.
        limit: The longest body to read, in bytes.
        discard: Give an empty object in place of a success's body, however long that is.

    Raises:
        TooLong: The body is.
        ApiUnavailable: It is no JSON object.
    """
    unread = discard and response.status < 300
    data = await (_drain(response) if unread else _read(response, limit))
    after = _seconds(response.headers.get("Retry-After", ""))
    return Answer(response.status, _parse(response.status, data, after), after, response.headers.get("Date", ""))


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise TooLong(f"HTTP {response.status} with an answer of over {limit} bytes", final=True)
        chunks.append(chunk)
    return b"".join(chunks)


async def _drain(response: aiohttp.ClientResponse) -> bytes:
    """Read to the end, so that the connection can be used again; its time is bounded, and nothing is kept."""
    async for _ in response.content.iter_any():
        pass
    return b"{}"


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6 else 0.0


def _parse(status: int, data: bytes, retry_after: float) -> dict[str, Any]:
    """Errors of proxies in between are often HTML; only their status is kept, never their text."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise ApiUnavailable(f"HTTP {status} with an answer that is not JSON", retry_after=retry_after) from None
    if not isinstance(body, dict):
        raise ApiUnavailable(f"HTTP {status} with JSON that is not an object")
    return body
