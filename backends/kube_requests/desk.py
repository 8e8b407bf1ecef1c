"""Has certificates signed by way of objects: one create each, one watch for all, adoption of what exists already.

A request's name follows from what it asks for, so that a retry, here or through another replica, finds the first try's
object instead of making a second one.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from backends.kube_requests.batches import Batches
from backends.kube_requests.kind import BATCH, Manifest, RequestKind, Verdict
from backends.kube_requests.refusals import fault_of, is_transient
from signer.core.errors import BackendRefused, BackendTimeout, BackendUnavailable
from signer.core.events import BackendEvent, Meter
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.watch import Watch

CALL_SECONDS = 5.0
TRIES = 4
# A watch that has been broken for so long will hardly bring the answer within a request's deadline.
BLIND_SECONDS = 2.0
# Of one name, within the moment that a create takes.
MAX_EARLY = 8


@dataclass(slots=True)
class _Waiter:
    """All who wait for one object here.

    Attributes:
        uid: Of the object that was made or adopted; empty until then. Another one under the same name decides nothing.
        early: What the watch has told of objects of that name before it was known which one counts, by UID.
    """

    futures: set["asyncio.Future[Verdict]"] = field(default_factory=set)
    last: Verdict = field(default_factory=Verdict)
    uid: str = ""
    early: dict[str, Verdict] = field(default_factory=dict)


class Desk:
    """The requests of one backend that are in flight.

    Args:
        api: The API server.
        kind: What they look like.
        batches: Notes what may be deleted.
        meter: Counts adoptions.
    """

    def __init__(self, api: KubeApi, kind: RequestKind, batches: Batches, meter: Meter) -> None:
        self._api = api
        self._kind = kind
        self._batches = batches
        self._meter = meter
        self._waiters: dict[str, _Waiter] = {}
        self.watch: Watch | None = None

    def waits_for(self, name: str) -> bool:
        """Tell whether somebody here waits for an object."""
        return name in self._waiters

    def saw(self, name: str, item: Manifest) -> None:
        """The watch has brought a state of an object."""
        waiter = self._waiters.get(name)
        if waiter is None:
            return
        uid, verdict = uid_of(item), self._kind.verdict(item)
        if uid == waiter.uid:
            self._tell(waiter, verdict)
        elif not waiter.uid and len(waiter.early) < MAX_EARLY:
            waiter.early[uid] = verdict

    def saw_deleted(self, name: str, uid: str) -> None:
        """The watch has seen an object go."""
        waiter = self._waiters.get(name)
        for future in waiter.futures if waiter and waiter.uid == uid else ():
            if not future.done():
                future.set_exception(BackendUnavailable(f"somebody has deleted {self._kind.resource} {name}"))

    async def settle(self, name: str, manifest: Manifest, timeout: float) -> Verdict:
        """Have one request decided.

        Args:
            name: What follows from the request.
            manifest: The object without its name.
            timeout: Seconds for all of it.

        Raises:
            BackendUnavailable: The API server cannot take it now, or nothing watches.
            BackendRefused: It was turned down.
            BackendTimeout: Nobody has decided in time; a retry will adopt the object.
        """
        self._check_watch()
        waiter = self._waiters.setdefault(name, _Waiter())
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        waiter.futures.add(future)
        self._batches.wanted_again(name)
        try:
            async with asyncio.timeout(timeout):
                await self._make(name, manifest, waiter)
                verdict = await future
            self._batches.done(name)
        except TimeoutError:
            said = f": {waiter.last.words}" if waiter.last.words else ", and its status is empty"
            text = f"nobody has decided on {self._kind.resource} {name} within {timeout:g} s{said}"
            raise BackendTimeout(text) from None
        finally:
            self._leave(name, waiter, future)
        if verdict.refused:
            raise BackendRefused(f"{self._kind.resource} {name}: {verdict.refused}")
        return verdict

    def _leave(self, name: str, waiter: _Waiter, future: "asyncio.Future[Verdict]") -> None:
        """Nothing is awaited here: a caller that was cancelled must be able to go."""
        waiter.futures.discard(future)
        if future.done() and not future.cancelled():
            # Retrieved, or the loop would complain of what nobody awaited.
            future.exception()
        if not waiter.futures:
            self._waiters.pop(name, None)
            self._batches.give_up(name, time.monotonic())

    def _check_watch(self) -> None:
        watch = self.watch
        if watch is None:
            raise BackendUnavailable("the backend is not started")
        if watch.broken_since is not None and time.monotonic() - watch.broken_since > BLIND_SECONDS:
            raise BackendUnavailable(watch.fault)

    def _tell(self, waiter: _Waiter, verdict: Verdict) -> None:
        waiter.last = verdict
        if verdict.final:
            for future in waiter.futures:
                if not future.done():
                    future.set_result(verdict)

    async def _make(self, name: str, manifest: Manifest, waiter: _Waiter) -> None:
        """Create the object, or adopt the one that is there."""
        answer = await self._create(name, manifest)
        if answer.status == 409:
            answer = await self._adopt(name, manifest)
        error = fault_of(answer, "create", self._kind.resource)
        if error is not None:
            self._batches.done(name)
            raise error
        await self._approve(answer.body)
        waiter.uid = uid_of(answer.body)
        self._tell(waiter, self._kind.verdict(answer.body))
        self._tell(waiter, waiter.early.pop(waiter.uid, waiter.last))

    async def _create(self, name: str, manifest: Manifest) -> Answer:
        metadata = manifest["metadata"]
        batch = self._batches.join(name, time.monotonic())
        labels = {**metadata["labels"], BATCH: batch}
        body = {**manifest, "metadata": {**metadata, "name": name, "labels": labels}}
        return await self._call("POST", self._kind.path, body)

    async def _call(self, method: str, path: str, body: Manifest | None = None) -> Answer:
        """One call, tried again while that may help; the time-out around it ends it.

        Raises:
            BackendUnavailable: No answer.
        """
        for left in range(TRIES - 1, -1, -1):
            try:
                answer = await self._api.call(method, path, CALL_SECONDS, body)
                if not left or not is_transient(answer):
                    return answer
            except ApiUnavailable as error:
                if not left or error.final:
                    raise BackendUnavailable(f"{self._kind.resource}: {error}") from None
            await asyncio.sleep(random.uniform(0.05, 0.3) * (TRIES - left))  # noqa: S311  spreads retries
        raise AssertionError("unreachable")

    async def _adopt(self, name: str, manifest: Manifest) -> Answer:
        """Take over an object that asks for the same; make way for one where it does not, or was turned down."""
        path = f"{self._kind.path}/{quote(name)}"
        found = await self._call("GET", path)
        if found.status == 200:
            ours = found.body.get("metadata", {}).get("labels", {}).items() >= manifest["metadata"]["labels"].items()
            if ours and self._kind.same(found.body, manifest) and not self._kind.verdict(found.body).refused:
                self._meter.count(BackendEvent.OBJECT_ADOPTED)
                return found
            if ours:
                uid = {"preconditions": {"uid": found.body["metadata"].get("uid")}}
                await self._call("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **uid})
                return await self._create(name, manifest)
            # Somebody else's object under our name: it is not ours to touch, and ours needs another name.
            raise BackendUnavailable(f"{self._kind.resource} {name} exists and is not ours: delete it")
        return await self._create(name, manifest) if found.status == 404 else found

    async def _approve(self, item: Manifest) -> None:
        body = self._kind.approval(item)
        if body is None:
            return
        path = f"{self._kind.path}/{quote(item['metadata']['name'])}"
        answer = await self._call("PUT", f"{path}/approval", body)
        if answer.status == 409:
            fresh = await self._call("GET", path)
            again = self._kind.approval(fresh.body) if fresh.status == 200 else None
            answer = await self._call("PUT", f"{path}/approval", again) if again else fresh
        error = fault_of(answer, "update", f"{self._kind.resource}/approval")
        if error is not None:
            raise error


def uid_of(item: Manifest) -> str:
    """An object's UID: another object of the same name has another one."""
    return str(item.get("metadata", {}).get("uid", ""))
