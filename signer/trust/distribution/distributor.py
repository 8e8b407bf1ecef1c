"""Keeps the roots in every namespace's ConfigMap: one list and one watch each of namespaces and ConfigMaps.

Only the replica that leads does it. Each write is conditional on the version that was seen, and leadership is looked at
right before it: a leader that was suspended and wakes up behind the times overwrites nothing newer.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, urlencode

from signer.core.chain import TrustBundle
from signer.core.ports import Leads
from signer.kube.answer import Answer, ApiUnavailable, Manifest, reason_of
from signer.kube.api import APPLY, KubeApi
from signer.kube.gathering import Gathering, Whole
from signer.kube.watch import Watch
from signer.trust.distribution.ledger import Ledger
from signer.trust.distribution.objects import MANAGER, Held, config_map, is_ending
from signer.trust.distribution.tally import Tally

_log = logging.getLogger("istio_signer.distribution")
# Less than the third of a lease's duration for which nobody else can lead after a leader has stopped to act.
WRITE_SECONDS = 5.0
_IDLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DistributionPlan:
    """What to write where.

    Attributes:
        config_map: The name in every namespace.
        selector: A label selector of namespaces; empty for all.
        concurrency: Writes at once.
    """

    config_map: str = "istio-ca-root-cert"
    selector: str = ""
    concurrency: int = 16


class Distributor:
    """Writes the ConfigMaps.

    Args:
        api: The local cluster.
        plan: What to write where.
        wanted: Gives the bundle of a namespace.
        leads: Asked right before each write.
        tally: Told what happens.
    """

    def __init__(
        self, api: KubeApi, plan: DistributionPlan, wanted: Callable[[str], TrustBundle], leads: Leads, tally: Tally
    ) -> None:
        self._api = api
        self._plan = plan
        self._wanted = wanted
        self._leads = leads
        self._tally = tally
        self._ledger = Ledger(wanted)
        self._work = asyncio.Event()
        self._told: set[str] = set()
        self._synced = False

    @property
    def complete(self) -> bool:
        """Whether every namespace holds what it should, as far as we have seen."""
        return self._synced and self._ledger.pending == 0

    @property
    def progress(self) -> str:
        """How far it is, for people."""
        return f"{self._ledger.pending} of {self._ledger.total} namespaces do not hold the roots yet"

    def bundle_changed(self) -> None:
        """Look at all namespaces again."""
        self._ledger.judge_all()
        self._work.set()

    async def run(self) -> None:
        """Distribute until cancelled; to be run while leading."""
        self._ledger, self._synced = Ledger(self._wanted), False
        namespaces = Watch(self._api, "/api/v1/namespaces", _selection(self._plan.selector), _Namespaces(self))
        maps = Watch(self._api, "/api/v1/configmaps", _named(self._plan.config_map), _Maps(self))
        async with asyncio.TaskGroup() as group:
            group.create_task(maps.run())
            # Without knowing who holds what already, every namespace would be written again.
            await maps.synced.wait()
            group.create_task(namespaces.run())
            await namespaces.synced.wait()
            self._synced = True
            for _ in range(self._plan.concurrency):
                group.create_task(self._write_forever())
            group.create_task(self._tell_forever())

    async def _write_forever(self) -> None:
        while True:
            taken = self._ledger.take() if self._leads.leads else None
            if taken is None:
                self._work.clear()
                await self._wait()
                continue
            name, held = taken
            pause = await self._write(name, held)
            if pause:
                asyncio.get_running_loop().call_later(pause, partial(self._retry, name))

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._work.wait()
        except TimeoutError:
            return

    def _retry(self, name: str) -> None:
        self._ledger.retry(name)
        self._work.set()

    async def _tell_forever(self) -> None:
        while True:
            self._tally.namespaces(self._ledger.total, self._ledger.pending)
            await asyncio.sleep(1.0)

    async def _write(self, name: str, held: Held | None) -> float:
        """Write one namespace's; give the seconds to leave it alone, where it makes sense to come back to it."""
        bundle = self._wanted(name)
        try:
            answer = await (self._create(name, bundle) if held is None else self._apply(name, bundle, held))
        except ApiUnavailable as error:
            self._tally.wrote("unavailable")
            return max(self._failed(name, str(error)), error.retry_after)
        if answer.status in (200, 201) and answer.body.get("metadata"):
            return self._succeeded(name, answer, held)
        return self._refused(name, answer)

    async def _create(self, name: str, bundle: TrustBundle) -> Answer:
        """Never over one that is there."""
        path = f"/api/v1/namespaces/{quote(name)}/configmaps?fieldManager={MANAGER}"
        return await self._api.post(path, config_map(name, self._plan.config_map, bundle), WRITE_SECONDS)

    async def _apply(self, name: str, bundle: TrustBundle, held: Held) -> Answer:
        """Only our key, only over the version that we know; other people's keys stay."""
        path = f"/api/v1/namespaces/{quote(name)}/configmaps/{quote(self._plan.config_map)}"
        body = config_map(name, self._plan.config_map, bundle, held.version)
        query = urlencode({"fieldManager": MANAGER, "force": "true"})
        return await self._api.call("PATCH", f"{path}?{query}", WRITE_SECONDS, body, content=APPLY)

    def _succeeded(self, name: str, answer: Answer, before: Held | None) -> float:
        self._tally.wrote("written")
        if self._ledger.pending <= 1:
            # The next outage is another one, and is said again.
            self._told.clear()
        pause = self._ledger.written(name, Held.of(answer.body), asyncio.get_running_loop().time())
        if pause:
            # Of what was there: by our write the text has become ours alone.
            writers = before.writers if before is not None else ()
            others = ", ".join(sorted({w for w in writers if w != MANAGER})) or "unknown"
            self._say(
                f"somebody keeps overwriting {self._plan.config_map} in {name} (field managers: {others}). If it is"
                " istiod, set ENABLE_CA_SERVER=false there, or distribution.enabled: false here"
            )
        return pause

    def _refused(self, name: str, answer: Answer) -> float:
        if answer.status == 404 or _is_ending(answer):
            # The namespace is going; the watch will say so.
            self._tally.wrote("gone")
            return self._ledger.failed(name)
        if answer.status == 409:
            self._tally.wrote("conflict")
            return self._ledger.failed(name)
        self._tally.wrote("refused")
        return max(self._failed(name, f"HTTP {answer.status}: {reason_of(answer)}"), answer.retry_after)

    def _failed(self, name: str, fault: str) -> float:
        self._say(f"roots cannot be written: {fault}")
        return self._ledger.failed(name)

    def _say(self, text: str) -> None:
        """Once each: a thousand namespaces fail for the same reason."""
        if text not in self._told:
            if len(self._told) > 100:
                self._told.clear()
            self._told.add(text)
            _log.warning("%s", text)

    def namespaces_listed(self, manifests: list[Manifest]) -> None:
        """All namespaces, from the watch."""
        self._ledger.namespaces({m["metadata"]["name"] for m in manifests if not is_ending(m)})
        self._work.set()

    def namespace_changed(self, manifest: Manifest, gone: bool) -> None:
        """One namespace, from the watch."""
        name = manifest["metadata"]["name"]
        if gone or is_ending(manifest):
            self._ledger.vanished(name)
        else:
            self._ledger.appeared(name)
            self._work.set()

    def maps_listed(self, manifests: list[Manifest]) -> None:
        """All ConfigMaps, from the watch."""
        self._ledger.maps({m["metadata"]["namespace"]: Held.of(m) for m in manifests})
        self._work.set()

    def map_changed(self, manifest: Manifest, gone: bool) -> None:
        """One ConfigMap, from the watch."""
        self._ledger.map_changed(manifest["metadata"]["namespace"], None if gone else Held.of(manifest))
        self._work.set()


class _Namespaces:
    def __init__(self, owner: Distributor) -> None:
        self._owner = owner

    def gathering(self) -> Gathering:
        return Whole(self._owner.namespaces_listed)

    def changed(self, kind: str, item: Manifest) -> None:
        self._owner.namespace_changed(item, kind == "DELETED")


class _Maps:
    def __init__(self, owner: Distributor) -> None:
        self._owner = owner

    def gathering(self) -> Gathering:
        return Whole(self._owner.maps_listed)

    def changed(self, kind: str, item: Manifest) -> None:
        self._owner.map_changed(item, kind == "DELETED")


def _selection(selector: str) -> dict[str, str]:
    return {"labelSelector": selector} if selector else {}


def _named(name: str) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"}


def _is_ending(answer: Answer) -> bool:
    causes = (answer.body.get("details") or {}).get("causes") or []
    return answer.status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
