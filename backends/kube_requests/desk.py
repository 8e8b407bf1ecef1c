"""Has certificates signed by way of objects: one create each, one watch for all, adoption of what exists already.

A request's name follows from what it asks for, so that a retry, here or through another replica, finds the first try's
object instead of making a second one.
"""

import asyncio
import time
from dataclasses import dataclass, field

from backends.kube_requests.batches import Batches
from backends.kube_requests.calls import Calls
from backends.kube_requests.kind import Manifest, RequestKind, Verdict, uid_of
from backends.kube_requests.making import Maker
from backends.kube_requests.silence import Silence
from signer.core.allowance import allowed_seconds
from signer.core.errors import BackendRefused, BackendTimeout, BackendUnavailable
from signer.core.events import Meter
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.watch import Watch

# A watch that has been broken for so long will hardly bring the answer within a request's deadline.
BLIND_SECONDS = 2.0
# Of what the attempt is allowed: to be late here says more than to be cut off there.
SHARE = 0.95
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
        self._kind = kind
        self._batches = batches
        self._maker = Maker(Calls(api, kind), kind, batches, meter)
        self._silence = Silence()
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

    async def settle(self, name: str, manifest: Manifest, timeout: float, asker: str = "") -> Verdict:
        """Have one request decided.

        Args:
            name: What follows from the request.
            manifest: The object without its name.
            timeout: Seconds for all of it; less where the attempt as a whole is allowed less.
            asker: For whom; empty for this signer itself.

        Raises:
            BackendUnavailable: The API server cannot take it now, or nothing watches.
            BackendRefused: It was turned down.
            BackendTimeout: Nobody has decided in time; a retry will adopt the object. ``Undecided`` where others'
                requests are decided on.
        """
        self._check_watch()
        self._silence.enter(asker)
        loop = asyncio.get_running_loop()
        waiter = self._waiters.setdefault(name, _Waiter())
        future: asyncio.Future[Verdict] = loop.create_future()
        waiter.futures.add(future)
        self._batches.wanted_again(name)
        begun, seconds = loop.time(), min(timeout, allowed_seconds() * SHARE)
        try:
            async with asyncio.timeout(seconds):
                await self._make(name, manifest, waiter)
                verdict = await self._decision(name, waiter, future, (begun + seconds - loop.time()) / 2)
        except TimeoutError:
            raise self._late(name, waiter, seconds, asker) from None
        finally:
            self._silence.leave(asker)
            self._leave(name, waiter, future)
        self._batches.done(name)
        self._silence.decided(asker)
        if verdict.refused:
            raise BackendRefused(f"{self._kind.resource} {name}: {verdict.refused}")
        return verdict

    async def _decision(self, name: str, waiter: _Waiter, future: "asyncio.Future[Verdict]", half: float) -> Verdict:
        """Wait for the watch, and look once with one's own eyes: a watch whose connection is dead looks idle."""
        await asyncio.wait({future}, timeout=half)
        if not future.done():
            await self._look(name, waiter)
        return await future

    async def _look(self, name: str, waiter: _Waiter) -> None:
        uid = waiter.uid
        try:
            found = await self._maker.look(name)
        except ApiUnavailable:
            return
        if waiter.uid != uid or waiter.last.final or found.status not in (200, 404):
            return
        verdict = self._kind.verdict(found.body) if uid_of(found.body) == uid else None
        if verdict is None:
            self.saw_deleted(name, uid)
        else:
            self._tell(waiter, verdict)
        if self.watch is not None and (verdict is None or verdict.final):
            self.watch.restart(f"{name} has changed")

    def _late(self, name: str, waiter: _Waiter, seconds: float, asker: str) -> BackendTimeout:
        if not waiter.uid:
            return BackendTimeout(f"the API server has not taken {self._kind.resource} {name} within {seconds:g} s")
        said = f": {waiter.last.words}" if waiter.last.words else ", and its status is empty"
        text = f"nobody has decided on {self._kind.resource} {name} within {seconds:g} s{said}"
        return self._silence.undecided(asker, text, time.monotonic())

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
        """See ``Maker.make``; whatever the watch has told of the object meanwhile counts."""
        made = await self._maker.make(name, manifest, lambda: len(waiter.futures) <= 1)
        waiter.uid = uid_of(made)
        self._tell(waiter, self._kind.verdict(made))
        self._tell(waiter, waiter.early.pop(waiter.uid, waiter.last))
