"""Keeps the ClusterTrustBundle that Istio reads, where the API server has the kind.

Source: istio ``pkg/config/constants`` (``istio.io:istiod-ca:root-cert``) and ``pilot/pkg/trustbundle``.
"""

import asyncio
import logging
from collections.abc import Callable

from signer.core.chain import TrustBundle
from signer.core.ports import Leads
from signer.kube.answer import Answer, ApiUnavailable, Manifest, reason_of
from signer.kube.api import APPLY, KubeApi
from signer.kube.gathering import Gathering, Whole
from signer.kube.watch import Watch
from signer.trust.distribution.objects import MANAGER, TRUST_BUNDLE, digest_of, trust_bundle

_log = logging.getLogger("istio_signer.distribution")
GROUP = "certificates.k8s.io"
VERSIONS = ("v1", "v1beta1", "v1alpha1")
_SECONDS = 5.0
_LOOK_AGAIN = 300.0
_PAUSE, _LAST_PAUSE = 0.5, 60.0
_PACE = 1.0


class ClusterBundle:
    """Writes one object; to be run while leading."""

    def __init__(self, api: KubeApi, wanted: Callable[[], TrustBundle], leads: Leads) -> None:
        self._api = api
        self._wanted = wanted
        self._leads = leads
        self._news = asyncio.Event()
        self._there: Manifest | None = None
        self._told = ""
        self._failures = 0

    def bundle_changed(self) -> None:
        """Look again."""
        self._news.set()

    async def run(self) -> None:
        """Keep it for ever."""
        version = await self._find_version()
        path = f"/apis/{GROUP}/{version}/clustertrustbundles"
        watch = Watch(self._api, path, {"fieldSelector": f"metadata.name={TRUST_BUNDLE}"}, self)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.run())
            await watch.synced.wait()
            group.create_task(self._keep(path, f"{GROUP}/{version}"))

    def gathering(self) -> Gathering:
        """Take a list."""
        return Whole(self.listed)

    def listed(self, objects: list[Manifest]) -> None:
        """What there is, from the watch."""
        self._there = objects[0] if objects else None
        self._news.set()

    def changed(self, kind: str, item: Manifest) -> None:
        """What has changed, from the watch."""
        self._there = None if kind == "DELETED" else item
        self._news.set()

    async def _find_version(self) -> str:
        while True:
            try:
                for version in VERSIONS:
                    if await self._has(version):
                        return version
            except ApiUnavailable as error:
                self._failed(str(error))
                await asyncio.sleep(self._pause())
                continue
            self._say("the API server has no ClusterTrustBundles; ConfigMaps alone carry the roots")
            await asyncio.sleep(_LOOK_AGAIN)

    def _pause(self) -> float:
        return float(min(_LAST_PAUSE, _PAUSE * 2 ** min(self._failures, 8)))

    async def _has(self, version: str) -> bool:
        """Tell whether the API server has the kind; ApiUnavailable where it does not say."""
        answer = await self._api.call("GET", f"/apis/{GROUP}/{version}", _SECONDS)
        if answer.status not in (200, 404):
            raise ApiUnavailable(f"HTTP {answer.status}: {reason_of(answer)}")
        resources = answer.body.get("resources") or []
        return answer.status == 200 and any(r.get("name") == "clustertrustbundles" for r in resources)

    async def _keep(self, path: str, group_version: str) -> None:
        while True:
            self._news.clear()
            if self._leads.leads and self._differs():
                await self._write(path, group_version)
                # Whoever else writes it is not answered at the same pace.
                await asyncio.sleep(_PACE)
            else:
                self._failures = 0
            if self._failures:
                await asyncio.sleep(self._pause())
            else:
                await self._news.wait()

    def _differs(self) -> bool:
        wanted = self._wanted()
        # The API server refuses an empty one.
        if not wanted.roots:
            return False
        spec = (self._there or {}).get("spec") or {}
        return digest_of(str(spec.get("trustBundle", ""))) != wanted.digest

    async def _write(self, path: str, group_version: str) -> None:
        try:
            answer = await self._send(path, group_version)
        except ApiUnavailable as error:
            self._failed(str(error))
            return
        if answer.status in (200, 201):
            self._failures, self._told, self._there = 0, "", answer.body
        elif answer.status == 409:
            # The watch is behind; what it brings decides.
            self._failures += 1
        else:
            self._failed(f"HTTP {answer.status}: {reason_of(answer)}")

    async def _send(self, path: str, group_version: str) -> Answer:
        there = self._there
        version = str((there.get("metadata") or {}).get("resourceVersion", "")) if there else ""
        body = trust_bundle(group_version, self._wanted(), version)
        if there is None:
            return await self._api.post(f"{path}?fieldManager={MANAGER}", body, _SECONDS)
        target = f"{path}/{TRUST_BUNDLE}?fieldManager={MANAGER}&force=true"
        return await self._api.call("PATCH", target, _SECONDS, body, content=APPLY)

    def _failed(self, fault: str) -> None:
        self._failures += 1
        self._say(f"ClusterTrustBundle {TRUST_BUNDLE} cannot be written: {fault}")

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            _log.warning("%s", text)
