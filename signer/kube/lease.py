"""One leader among replicas, by a Lease (coordination.k8s.io/v1), on the rules of client-go's leader election.

Who leads acts for two thirds of the lease's duration after it last asked for a renewal; all others wait for the whole
duration after they last saw one. So two never act at once, as long as what a leader begins while it leads ends within
the third that is left: look at ``leads`` right before each write, and give that write a deadline.
"""

import asyncio
import logging
from collections.abc import Callable

from signer.core.ports import Clock
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.lease_pace import Pace, Refused
from signer.kube.lease_record import LeaseRecord, Manifest, Move, Seen, claim, decide, observe, release
from signer.kube.lease_settings import Leadership, LeaseSettings
from signer.kube.lease_tenure import Tenure

__all__ = ["Elector", "Leadership", "LeaseSettings"]

_log = logging.getLogger("istio_signer.kube.lease")
RELEASE_SECONDS = 2.0


class Elector:
    """Takes part in the election; a ``Leadership``.

    Args:
        api: Opened by ``connect``.
        settings: Which Lease.
        clock: Of this process.
        on_change: Told of each gain and loss within a second, on the event loop; must not block.
    """

    def __init__(
        self,
        api: KubeApi,
        settings: LeaseSettings,
        clock: Clock,
        on_change: Callable[[bool], None] = lambda leads: None,
    ) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._tenure = Tenure(clock, settings.window, on_change)
        self._pace = Pace(settings)
        self._seen: Seen | None = None
        self._sure = False
        self._claimed = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def leads(self) -> bool:
        """Whether this process leads, by the clock as it is now."""
        return self._tenure.leads

    @property
    def term(self) -> int:
        """The number of our last term; 0 before the first."""
        return self._tenure.term

    @property
    def holder(self) -> str:
        """The identity that the Lease had when we saw it last; empty where it had none."""
        return "" if self._seen is None or self._seen.gone else self._seen.record.holder

    @property
    def fault(self) -> str:
        """Why the last step failed and what to do; empty where it did not."""
        return self._pace.fault

    async def wait(self) -> None:
        """Return while we lead; does not return after ``close``."""
        await self._tenure.wait()

    async def run(self) -> None:
        """Stand for election for ever. Cancelled, this process leads no longer, but the Lease binds until ``close``."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tenure.watch(), name="lease-clock")
                group.create_task(self._elect(), name="lease-election")
        finally:
            self._tenure.drop()

    async def close(self) -> None:
        """Lead no longer, and let another lead at once. Takes 2 s at most. Duties must have ended before."""
        self._closed = True
        self._tenure.drop()
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                # A claim under way could be accepted after its release.
                await self._idle.wait()
                await self._let_go()
        except Exception as error:  # noqa: BLE001  the process ends, and what is left expires by itself
            reason = str(error) if isinstance(error, Refused) else type(error).__name__
            _log.warning("%s is not released, another leads once it has expired: %s", self._settings.path, reason)

    async def _elect(self) -> None:
        while not self._closed:
            begun = self._clock.monotonic()
            try:
                await self._step()
                pause = self._pace.worked(self._tenure.left, self._clock.monotonic() - begun, self._expires())
            except Exception as error:  # noqa: BLE001  whatever is answered, elections go on
                pause = self._pace.failed(error, self._tenure.left)
            await asyncio.sleep(pause)
        await asyncio.Event().wait()

    async def _step(self) -> None:
        # Who leads and knows the latest version renews blindly, which is one call in place of two.
        if self._sure and self.leads and await self._claim():
            return
        await self._read()
        move = decide(self._seen, self._settings.identity, self.leads, self._clock.monotonic())
        if move is Move.FOLLOW or self._closed:
            return
        if not await self._claim():
            await self._read()

    async def _read(self) -> None:
        answer = await self._call("GET", self._settings.path)
        record = None if answer.status == 404 else self._record(answer)
        self._seen, self._sure = observe(self._seen, record, self._clock.monotonic()), True
        if self.holder != self._settings.identity:
            self._claimed = False
        # One that is gone is made again while we lead, for all others who knew it wait.
        if self._seen is None or self._seen.record.holder != self._settings.identity:
            self._tenure.drop()

    async def _claim(self) -> bool:
        """Ask to lead, or to go on; False where somebody else was faster."""
        sent = self._clock.monotonic()
        manifest = claim(self._seen, self._settings.identity, self._settings.duration, self._clock.now())
        # Until it is answered, it may or may not have been done.
        self._sure, self._claimed = False, True
        self._idle.clear()
        try:
            answer = await self._write(manifest)
        finally:
            self._idle.set()
        if answer.status == 409 or (answer.status == 404 and "metadata" in manifest):
            return False
        record = self._record(answer)
        if record.holder != self._settings.identity:
            raise ValueError("the answer to a claim names another holder")
        self._seen, self._sure = observe(self._seen, record, self._clock.monotonic()), True
        if not self._closed:
            self._tenure.hold(sent, record.transitions)
        return True

    async def _let_go(self) -> None:
        while self._claimed:
            try:
                await self._release()
            except ApiUnavailable:
                await asyncio.sleep(RELEASE_SECONDS / 10)

    async def _release(self) -> None:
        await self._read()
        if not self._claimed or self._seen is None:
            return
        answer = await self._write(release(self._seen, self._clock.now()))
        if answer.status not in (404, 409):
            self._record(answer)
            self._claimed = False

    async def _write(self, manifest: Manifest) -> Answer:
        if "metadata" in manifest:
            return await self._call("PUT", self._settings.path, manifest)
        head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._settings.name}}
        return await self._call("POST", self._settings.collection, {**head, **manifest})

    async def _call(self, method: str, path: str, body: Manifest | None = None) -> Answer:
        deadline = RELEASE_SECONDS / 3 if self._closed else self._pace.deadline(self._tenure.left)
        return await self._api.call(method, path, deadline, body)

    def _expires(self) -> float:
        return 0.0 if self._seen is None else self._seen.expires - self._clock.monotonic()

    def _record(self, answer: Answer) -> LeaseRecord:
        if answer.status not in (200, 201):
            raise Refused(answer)
        return LeaseRecord.read(answer.body, self._settings.duration)
