"""The record that replicas share, as a ConfigMap: each adds what it knows, and only the one that leads takes away.

While it cannot be read or written each replica goes on with its own memory. A text that is no record is never
overwritten: it may hold a rotation that a later version of this program has begun.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from signer.core.ports import Clock, Leads
from signer.core.trust_record import BadRecord, TrustRecord, decode, encode
from signer.kube.answer import Answer, ApiUnavailable, Manifest, reason_of
from signer.kube.api import KubeApi
from signer.kube.gathering import Gathering, Whole
from signer.kube.watch import Watch
from signer.trust.bundle import LiveBundle

_log = logging.getLogger("istio_signer.trust")
KEY = "record.json"
_SECONDS = 5.0
_TICK = 1.0
_LAST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where the ConfigMap is."""

    namespace: str
    name: str

    @property
    def collection(self) -> str:
        """The path of the namespace's ConfigMaps."""
        return f"/api/v1/namespaces/{quote(self.namespace)}/configmaps"

    @property
    def path(self) -> str:
        """The path of the ConfigMap."""
        return f"{self.collection}/{quote(self.name)}"


def manifest(place: RecordPlace, record: TrustRecord, version: str = "") -> dict[str, Any]:
    """The ConfigMap; with ``version`` it is written only over that one."""
    metadata = {"name": place.name, "namespace": place.namespace}
    labels = {"app.kubernetes.io/managed-by": "istio-signer"}
    if version:
        metadata["resourceVersion"] = version
    data = {KEY: encode(record)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, "labels": labels}, "data": data}


class SharedRecord:
    """Keeps the ConfigMap and the bundle's memory in step; ``known`` is set once it was read.

    Attributes:
        fault: Why it cannot be kept now; empty while it can.
    """

    def __init__(
        self,
        api: KubeApi,
        place: RecordPlace,
        bundle: LiveBundle,
        leads: Leads,
        clock: Clock,
        known: asyncio.Event | None = None,
    ) -> None:
        self._api = api
        self._place = place
        self._bundle = bundle
        self._leads = leads
        self._clock = clock
        self._stored: TrustRecord | None = None
        self._version = ""
        self._unreadable = False
        self._marks: frozenset[str] | None = None
        self._failures = 0
        self._news = asyncio.Event()
        self._known = known or asyncio.Event()
        self.fault = "the record has not been read yet"
        bundle.on_change(self._news.set)

    def published(self, marks: frozenset[str] | None) -> None:
        """Say which roots (fingerprints) every namespace holds; None while that is not known."""
        if marks != self._marks:
            self._marks = marks
            self._news.set()

    async def read(self) -> bool:
        """Read it now, for whoever must not act on what was true a while ago; tell whether it is known, or known not to
        be there. Within the time of one call."""
        try:
            answer = await self._api.call("GET", self._place.path, _SECONDS)
        except ApiUnavailable as error:
            self._failed(str(error))
            return False
        if answer.status not in (200, 404):
            self._failed(f"HTTP {answer.status}: {reason_of(answer)}")
            return False
        self._take(answer.body if answer.status == 200 else None)
        return not self._unreadable

    async def run(self) -> None:
        """Read and write for ever."""
        selector = {"fieldSelector": f"metadata.name={self._place.name}"}
        watch = Watch(self._api, self._place.collection, selector, self)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.run())
            await watch.synced.wait()
            group.create_task(self._keep())

    def gathering(self) -> Gathering:
        """Take a list."""
        return Whole(self.listed)

    def listed(self, objects: list[Manifest]) -> None:
        """What there is, from the watch."""
        self._take(objects[0] if objects else None)

    def changed(self, kind: str, item: Manifest) -> None:
        """What has changed, from the watch."""
        self._take(None if kind == "DELETED" else item)

    def _take(self, item: Manifest | None) -> None:
        self._unreadable, self._version = False, ""
        # What cannot be read cannot be waited for either: it is said, and this replica goes on with what it knows.
        self._known.set()
        if item is None:
            self._stored = None
            self._news.set()
            return
        try:
            self._stored = decode(str((item.get("data") or {}).get(KEY, "")))
        except BadRecord as error:
            self._unreadable = True
            self._failed(
                f"ConfigMap {self._place.namespace}/{self._place.name} holds no record: {error}; mend or delete it"
            )
            return
        self._version = str(item["metadata"].get("resourceVersion", ""))
        self.fault = ""
        self._bundle.remember(self._stored)
        self._news.set()

    async def _keep(self) -> None:
        while True:
            self._news.clear()
            if not self._unreadable:
                await self._save()
            pause = min(_LAST_PAUSE, _TICK * 2 ** min(self._failures, 5)) if self._failures else None
            await self._wait(pause)

    async def _wait(self, pause: float | None) -> None:
        if pause is not None:
            await asyncio.sleep(pause)
            return
        try:
            async with asyncio.timeout(_LAST_PAUSE):
                await self._news.wait()
        except TimeoutError:
            return

    def _wanted(self) -> TrustRecord:
        """What should be there: what all know; the leader also takes away, and says what is everywhere."""
        stored, mine = self._stored, self._bundle.record
        if not self._leads.leads and stored is not None:
            # What others have put there and nobody here vouches for is theirs: writing it back would undo what the
            # leader takes away.
            return mine.only(self._bundle.vouched).merged(stored)
        known = mine if stored is None else mine.merged(stored)
        if not self._leads.leads:
            return known
        now = self._clock.now()
        kept = known.pruned(now) if self._bundle.settled else known
        return kept if self._marks is None else kept.published(self._marks, now)

    async def _save(self) -> None:
        wanted = self._wanted()
        if wanted == self._stored:
            return
        try:
            answer = await self._write(wanted)
        except ApiUnavailable as error:
            self._failed(str(error))
            return
        if answer.status in (200, 201):
            self._failures, self.fault, self._stored = 0, "", wanted
            self._version = str((answer.body.get("metadata") or {}).get("resourceVersion", ""))
            # However fast others write: nobody is to answer them at the same pace.
            await asyncio.sleep(_TICK)
        elif answer.status != 409:
            # At 409 somebody was faster: the watch brings what they wrote, and then there may be nothing left to add.
            self._failed(f"HTTP {answer.status}: {reason_of(answer)}")

    async def _write(self, wanted: TrustRecord) -> Answer:
        if self._stored is None:
            return await self._api.post(self._place.collection, manifest(self._place, wanted), _SECONDS)
        body = manifest(self._place, wanted, self._version)
        return await self._api.call("PUT", self._place.path, _SECONDS, body)

    def _failed(self, fault: str) -> None:
        self._failures += 1
        if fault != self.fault:
            _log.warning("what replicas remember of roots cannot be kept: %s", fault)
        self.fault = fault
