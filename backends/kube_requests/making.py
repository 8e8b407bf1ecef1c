"""Makes one object, or takes over the one that is there already, and approves it where that is ours to do.

Anybody who may create objects of the kind can put one under a name that we will use, with our labels and with other
contents. So nothing is taken over or approved but what this very account has made, and what asks for the same.
"""

import time
from collections.abc import Callable
from urllib.parse import quote

from backends.kube_requests.batches import Batches
from backends.kube_requests.calls import Calls
from backends.kube_requests.kind import BATCH, Manifest, RequestKind, uid_of, username
from backends.kube_requests.refusals import fault_of
from signer.core.errors import BackendUnavailable
from signer.core.events import BackendEvent, Meter
from signer.kube.answer import Answer


class Maker:
    """Makes the objects of one backend.

    Args:
        calls: To the API server.
        kind: What they look like.
        batches: Notes what may be deleted.
        meter: Counts adoptions.
    """

    def __init__(self, calls: Calls, kind: RequestKind, batches: Batches, meter: Meter) -> None:
        self._calls = calls
        self._kind = kind
        self._batches = batches
        self._meter = meter
        # Who we are to the API server, as it wrote into what we made; None until then.
        self._account: str | None = None

    async def make(self, name: str, manifest: Manifest, alone: Callable[[], bool]) -> Manifest:
        """Create the object, or adopt the one that is there; approve it.

        Args:
            name: What follows from the request.
            manifest: The object without its name.
            alone: Tells whether nobody else here waits for it: only then may a failure give it up.

        Raises:
            BackendUnavailable: The API server cannot take it now, or the name is taken.
            BackendRefused: It was turned down.
        """
        answer = await self._create(name, manifest)
        if answer.status == 409:
            answer = await self._adopt(name, manifest)
        error = fault_of(answer, "create", self._kind.resource)
        if error is not None:
            if alone():
                self._batches.done(name)
            raise error
        await self._approve(answer.body, manifest)
        return answer.body

    async def look(self, name: str) -> Answer:
        """The object as it is now; one call.

        Raises:
            ApiUnavailable: No answer.
        """
        return await self._calls.once("GET", f"{self._kind.path}/{quote(name)}")

    async def _create(self, name: str, manifest: Manifest) -> Answer:
        metadata = manifest["metadata"]
        batch = self._batches.join(name, time.monotonic())
        labels = {**metadata["labels"], BATCH: batch}
        body = {**manifest, "metadata": {**metadata, "name": name, "labels": labels}}
        answer = await self._calls.call("POST", self._kind.path, body)
        self._learn(answer)
        return answer

    def _learn(self, created: Answer) -> None:
        if 200 <= created.status < 300:
            self._account = username(created.body)

    async def _adopt(self, name: str, manifest: Manifest) -> Answer:
        """Take over an object that asks for the same; make way for one where it does not, or was turned down."""
        path = f"{self._kind.path}/{quote(name)}"
        found = await self._calls.call("GET", path)
        if found.status == 404:
            return await self._create(name, manifest)
        if found.status != 200:
            return found
        if not found.body.get("metadata", {}).get("labels", {}).items() >= manifest["metadata"]["labels"].items():
            # Somebody else's object under our name: it is not ours to touch, and ours needs another name.
            raise BackendUnavailable(f"{self._kind.resource} {name} exists and is not ours: delete it")
        if await self._is_first_try(name, found.body, manifest):
            self._meter.count(BackendEvent.OBJECT_ADOPTED)
            return found
        uid = {"preconditions": {"uid": uid_of(found.body)}}
        await self._calls.call("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **uid})
        return await self._create(name, manifest)

    async def _is_first_try(self, name: str, found: Manifest, manifest: Manifest) -> bool:
        if not self._kind.same(found, manifest) or self._kind.verdict(found).refused:
            return False
        if self._account is None:
            await self._ask_who_we_are(name, manifest)
        return self._account is not None and username(found) == self._account

    async def _ask_who_we_are(self, name: str, manifest: Manifest) -> None:
        """By a create that is not stored: it needs no other right, and the server writes our name into the answer."""
        body = {**manifest, "metadata": {**manifest["metadata"], "name": f"{name}-who"}}
        self._learn(await self._calls.call("POST", f"{self._kind.path}?dryRun=All", body))

    async def _approve(self, item: Manifest, manifest: Manifest) -> None:
        body = self._kind.approval(item)
        if body is None:
            return
        path = f"{self._kind.path}/{quote(item['metadata']['name'])}"
        answer = await self._calls.call("PUT", f"{path}/approval", body)
        if answer.status == 409:
            answer = await self._approve_again(path, item, manifest)
        error = fault_of(answer, "update", f"{self._kind.resource}/approval")
        if error is not None:
            raise error

    async def _approve_again(self, path: str, item: Manifest, manifest: Manifest) -> Answer:
        """After a conflict: a controller has touched the object, or another one stands under its name by now."""
        fresh = await self._calls.call("GET", path)
        if fresh.status != 200:
            return fresh
        if uid_of(fresh.body) != uid_of(item) or not self._kind.same(fresh.body, manifest):
            raise BackendUnavailable(f"{path}: another object has taken its place; it is not approved")
        again = self._kind.approval(fresh.body)
        return fresh if again is None else await self._calls.call("PUT", f"{path}/approval", again)
