"""An API server that has Leases and nothing else, in memory, seen through a line of its own by each elector."""

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.lease import LeaseSettings

SETTINGS = LeaseSettings(namespace="istio-system", identity="a")


class Leases:
    """What is stored. Versions only rise; a PUT needs the latest."""

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self._version = 0

    @property
    def spec(self) -> dict[str, Any]:
        """Of the one Lease."""
        assert self.item is not None
        spec: dict[str, Any] = self.item["spec"]
        return spec

    def store(self, item: dict[str, Any], uid: str | None = None) -> None:
        """Put it there as it is."""
        self._version += 1
        metadata = {**item.get("metadata", {}), "resourceVersion": str(self._version)}
        metadata["uid"] = uid or metadata.get("uid") or f"uid-{self._version}"
        self.item = {**copy.deepcopy(item), "metadata": metadata}

    def answer(self, method: str, body: dict[str, Any] | None) -> Answer:
        """What the real one would do."""
        if method == "POST":
            return self._post(body or {})
        if self.item is None:
            return Answer(404, {"reason": "NotFound", "message": 'leases "istio-signer" not found'})
        if method == "PUT" and body is not None:
            if body["metadata"]["resourceVersion"] != self.item["metadata"]["resourceVersion"]:
                return Answer(409, {"reason": "Conflict", "message": "the object has been modified"})
            self.store(body)
        return Answer(200, copy.deepcopy(self.item))

    def _post(self, body: dict[str, Any]) -> Answer:
        if self.item is not None:
            return Answer(409, {"reason": "AlreadyExists", "message": "already exists"})
        self.store(body)
        return Answer(201, copy.deepcopy(self.item or {}))


async def fine(method: str) -> None:
    """A line on which nothing is wrong."""


@dataclass
class Line(KubeApi):
    """One elector's way there; ``before`` and ``after`` what is done may wait or raise.

    Attributes:
        refusal: Answered instead of doing anything.
        asked: The methods, in order.
        deadlines: Of each call.
    """

    leases: Leases
    before: Callable[[str], Any] = fine
    after: Callable[[str], Any] = fine
    refusal: Answer | None = None
    asked: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)

    async def call(
        self,
        method: str,
        path: str,
        timeout: float,
        body: dict[str, Any] | None = None,
        *,
        limit: int = 0,
        discard: bool = False,
        content: str = "",
    ) -> Answer:
        """Send one request."""
        assert path == (SETTINGS.collection if method == "POST" else SETTINGS.path)
        self.asked.append(method)
        self.moments.append(asyncio.get_running_loop().time())
        self.deadlines.append(timeout)
        sent = json.loads(json.dumps(body))
        try:
            async with asyncio.timeout(timeout):
                await self.before(method)
                answer = self.refusal or self.leases.answer(method, sent)
                await self.after(method)
        except TimeoutError:
            raise ApiUnavailable(f"no answer within {timeout:g} s", final=True) from None
        return answer


async def dead(method: str) -> None:
    """A line on which nothing ever comes."""
    await asyncio.sleep(3600)


async def cut(method: str) -> None:
    """A line that is refused at once."""
    raise ApiUnavailable("no connection: ClientConnectorError")
