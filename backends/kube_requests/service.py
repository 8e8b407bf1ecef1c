"""What runs behind the desk: the one watch, the deletion of what is done, the sweep of what somebody left behind."""

import asyncio
import logging
import random
import time
import traceback
from pathlib import Path
from urllib.parse import quote, urlencode

from backends.kube_requests.batches import Batches
from backends.kube_requests.desk import Desk
from backends.kube_requests.kind import BACKEND, BATCH, MANAGED_BY, MANAGER, Manifest, RequestKind, label_value, uid_of
from signer.core.errors import BackendUnavailable
from signer.core.events import BackendEvent
from signer.core.spec import BackendContext
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.gathering import Gathering, Whole
from signer.kube.no_cluster import NoCluster
from signer.kube.watch import Watch

_log = logging.getLogger("istio_signer.backend.kube_requests")
TICK = 1.0
CALL_SECONDS = 10.0
CLOSE_SECONDS = 2.0
RETRY_SECONDS = 5.0
# Longer than any request's deadline: by then whoever made an object has gone, here or on another replica.
ORPHAN_SECONDS = 60.0
ADOPTABLE_SECONDS = 20.0
SWEEP_AT_ONCE = 8
# Of objects that are remembered for the sweep; a namespace with more is somebody's accident.
MAX_OBJECTS = 100_000


class RequestService:
    """The objects of one backend in one cluster.

    Args:
        kind: What they look like.
        kubeconfig: How to reach the cluster; None means the pod's own account.
        kube_context: A context of that file.
        context: The backend's.
        preserve: Leave every object where it is, for somebody who wants to look.
    """

    def __init__(
        self,
        kind: RequestKind,
        kubeconfig: Path | None,
        kube_context: str | None,
        context: BackendContext,
        preserve: bool = False,
    ) -> None:
        self._kind = kind
        self._access = (kubeconfig, kube_context)
        self._context = context
        self._preserve = preserve
        self._batches = Batches(ADOPTABLE_SECONDS)
        self._seen: dict[str, tuple[float, str]] = {}
        self._watch: Watch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._fault = "the backend is not started"
        self._single = False
        self.opened = asyncio.Event()
        self.api: KubeApi | None = None
        self.desk: Desk | None = None

    @property
    def labels(self) -> dict[str, str]:
        """What marks an object as this backend's."""
        return {MANAGED_BY: MANAGER, BACKEND: label_value(self._context.name)}

    def ready(self) -> Desk:
        """The desk.

        Raises:
            BackendUnavailable: There is no access to the cluster.
        """
        if self.desk is None:
            raise BackendUnavailable(self._fault)
        return self.desk

    def probe(self) -> None:
        """Check that the watch works.

        Raises:
            BackendUnavailable: It does not.
        """
        self.ready()
        if self._watch is None or self._watch.broken_since is not None:
            raise BackendUnavailable(self._watch.fault if self._watch else self._fault)

    async def start(self) -> None:
        """Open the connection and begin to watch; one attempt, and only one connection."""
        if self.opened.is_set():
            return
        try:
            api = await connect(*self._access)
        except NoCluster as error:
            self._fault = str(error)
            _log.error("backend %s: %s", self._context.name, error)
            return
        self.api = api
        self.desk = Desk(api, self._kind, self._batches, self._context.meter)
        # Before run(): what is asked for while a server starts must be answered, too.
        self._begin_watch(api, self.desk)
        self.opened.set()

    def _begin_watch(self, api: KubeApi, desk: Desk) -> None:
        selector = ",".join(f"{key}={value}" for key, value in self.labels.items())
        restarted = lambda: self._context.meter.count(BackendEvent.WATCH_RESTARTED)  # noqa: E731
        self._watch = desk.watch = Watch(api, self._kind.path, {"labelSelector": selector}, self, restarted)
        self._watching = asyncio.create_task(self._watch.run())

    def _begin_watch_anew(self) -> None:
        """It never ends by itself: a bug must be loud, and must not leave every request blind."""
        ended, api, desk = self._watching, self.api, self.desk
        if ended is None or not ended.done() or api is None or desk is None:
            return
        error = None if ended.cancelled() else ended.exception()
        frames = "".join(traceback.format_tb(error.__traceback__)) if error is not None else ""
        reason = type(error).__name__ if error is not None else "it has ended"
        _log.error("backend %s: bug in the watch: %s; it is begun anew\n%s", self._context.name, reason, frames)
        self._context.meter.count(BackendEvent.WATCH_RESTARTED)
        self._begin_watch(api, desk)

    async def run(self) -> None:
        """Delete and sweep for ever; open the connection, where that has not been possible yet."""
        while self._watch is None:
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self.opened.wait()
            except TimeoutError:
                await self.start()
        await self._clean()

    async def close(self) -> None:
        """Delete what is left of this process, as far as the time allows; the rest is swept by the next one."""
        self.desk, self._fault = None, "the backend is closed"
        if self.api is None:
            return
        if self._watching is not None:
            self._watching.cancel()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._delete_batches(self._batches.all_labels())
        except TimeoutError:
            _log.warning("backend %s: requests are left behind; they will be swept", self._context.name)
        await self.api.close()

    def gathering(self) -> Gathering:
        """Take a list."""
        return Whole(self.listed)

    def listed(self, objects: list[Manifest]) -> None:
        """All objects as of now: those that are gone are forgotten, all others may have been decided meanwhile."""
        names = {item["metadata"]["name"] for item in objects}
        for name, (_, uid) in [(n, seen) for n, seen in self._seen.items() if n not in names]:
            self._gone(name, uid)
        for item in objects:
            self.changed("ADDED", item)

    def changed(self, kind: str, item: Manifest) -> None:
        """One object has changed."""
        name = item["metadata"]["name"]
        if kind == "DELETED":
            self._gone(name, uid_of(item))
            return
        if len(self._seen) < MAX_OBJECTS:
            # Counted from when it was first seen: clocks of other machines decide nothing here.
            self._seen.setdefault(name, (time.monotonic(), uid_of(item)))
        if self.desk is not None:
            self.desk.saw(name, item)

    def _gone(self, name: str, uid: str) -> None:
        self._seen.pop(name, None)
        if self.desk is not None:
            self.desk.saw_deleted(name, uid)

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(TICK * random.uniform(0.8, 1.2))  # noqa: S311  spreads replicas
            self._begin_watch_anew()
            if not self._preserve:
                await self._delete_batches(self._batches.due(time.monotonic()))
                await self._sweep(time.monotonic())

    async def _delete_batches(self, labels: list[str]) -> None:
        for label in labels:
            if await self._delete_batch(label):
                self._batches.forget(label)

    async def _delete_batch(self, label: str) -> bool:
        """One call for the whole batch; without the right to that, its objects are left to the sweep, one by one."""
        if self._preserve or self._single:
            return True
        query = urlencode({"labelSelector": f"{BATCH}={label}"})
        status = await self._delete(f"{self._kind.path}?{query}")
        if status == 403:
            self._single = True
            _log.warning(
                "backend %s: without the right to deletecollection %s each request is deleted by itself",
                self._context.name,
                self._kind.resource,
            )
        return status in (200, 403, 404)

    async def _sweep(self, now: float) -> None:
        """Delete what nobody waits for: left by a crash, by a deadline, or by another replica's crash."""
        limit = ADOPTABLE_SECONDS if self._single else ORPHAN_SECONDS
        old = [name for name, (since, _) in self._seen.items() if now - since >= limit and self._is_orphan(name)]
        for start in range(0, len(old), SWEEP_AT_ONCE):
            await asyncio.gather(*map(self._sweep_one, old[start : start + SWEEP_AT_ONCE]))

    def _is_orphan(self, name: str) -> bool:
        return name not in self._batches and not (self.desk is not None and self.desk.waits_for(name))

    async def _sweep_one(self, name: str) -> None:
        if await self._delete(f"{self._kind.path}/{quote(name)}") in (200, 202, 404):
            self._seen.pop(name, None)
            self._context.meter.count(BackendEvent.ORPHAN_DELETED)

    async def _delete(self, path: str) -> int:
        """The status, or 0 where there was no answer: it is tried again at the next round."""
        if self.api is None:
            return 0
        try:
            return (await self.api.call("DELETE", path, CALL_SECONDS, discard=True)).status
        except ApiUnavailable:
            return 0
