"""Which issuer signs now: the configured one, or the one that a ConfigMap names while it is there.

Nothing is signed before it is known what the ConfigMap says, and an edit that makes no sense changes nothing: another
issuer is another CA, and a mesh must not be moved to one by a typo or a restart.

The keys are those of istio-csr's runtime configuration, so that one ConfigMap serves both.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from backends.cert_manager.settings import CertManagerSettings, IssuerRef
from backends.kube_requests.service import RequestService
from signer.core.errors import BackendUnavailable
from signer.kube.gathering import Gathering, Whole
from signer.kube.watch import Watch

_log = logging.getLogger("istio_signer.backend.cert_manager")
START_SECONDS = 3.0
KEYS = {"name": "issuer-name", "kind": "issuer-kind", "group": "issuer-group"}


class CurrentIssuer:
    """Follows the ConfigMap, where one is configured."""

    def __init__(self, settings: CertManagerSettings, backend: str) -> None:
        self._settings = settings
        self._backend = backend
        self._fault = "" if settings.runtime_config_map is None else "it has not been read yet"
        self._ref = settings.issuer
        self._good = False
        self._watch: Watch | None = None
        self._following: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def ref(self) -> IssuerRef:
        """Who signs.

        Raises:
            BackendUnavailable: The ConfigMap has not been read yet, or has never made sense.
        """
        if self._fault:
            seen = f" ({self._watch.fault})" if self._watch is not None and self._watch.fault else ""
            raise BackendUnavailable(f"ConfigMap {self._where()} names the issuer: {self._fault}{seen}")
        return self._ref

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when another issuer is named than before."""
        self._callbacks.append(callback)

    async def start(self, service: RequestService) -> None:
        """Begin to follow, and read the ConfigMap if that works soon: what is asked for at once must be answered."""
        watch = self._begin(service)
        if watch is None:
            return
        try:
            async with asyncio.timeout(START_SECONDS):
                await watch.synced.wait()
        except TimeoutError:
            _log.error("backend %s: ConfigMap %s cannot be read: %s", self._backend, self._where(), watch.fault)

    async def follow(self, service: RequestService) -> None:
        """Follow the ConfigMap for as long as there is one to follow."""
        await service.opened.wait()
        self._begin(service)
        if self._following is not None:
            await self._following

    def close(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()

    def _begin(self, service: RequestService) -> Watch | None:
        where = self._settings.runtime_config_map
        if where is None or service.api is None:
            return None
        if self._watch is None or self._following is None or self._following.done():
            path = f"/api/v1/namespaces/{where.namespace}/configmaps"
            self._watch = Watch(service.api, path, {"fieldSelector": f"metadata.name={where.name}"}, self)
            self._following = asyncio.create_task(self._watch.run())
        return self._watch

    def gathering(self) -> Gathering:
        """Take a list."""
        return Whole(self.listed)

    def listed(self, objects: list[dict[str, Any]]) -> None:
        """The ConfigMap as of now, or none."""
        self._take(objects[0].get("data") if objects else None)

    def changed(self, kind: str, item: dict[str, Any]) -> None:
        """It has changed, or gone."""
        self._take(None if kind == "DELETED" else item.get("data"))

    def _take(self, data: Any) -> None:
        before = self._ref
        try:
            self._ref = self._read(data)
        except ValueError as error:
            self._refuse(str(error))
            return
        self._fault, self._good = "", True
        if self._ref != before:
            _log.info("backend %s: signs by %s %s now", self._backend, self._ref.kind, self._ref.name)
            for callback in self._callbacks:
                callback()

    def _read(self, data: Any) -> IssuerRef:
        """Raises ValueError where it names none."""
        if not data or not isinstance(data, dict):
            return self._settings.issuer
        given = {field: data[key].strip() for field, key in KEYS.items() if isinstance(data.get(key), str)}
        given = {field: value for field, value in given.items() if value}
        if "name" not in given:
            raise ValueError("issuer-name is missing")
        return IssuerRef(**given)

    def _refuse(self, fault: str) -> None:
        kept = f"{self._ref.name} goes on signing" if self._good else "nothing is signed until it is mended"
        self._fault = "" if self._good else fault
        _log.error("backend %s: ConfigMap %s: %s; %s", self._backend, self._where(), fault, kept)

    def _where(self) -> str:
        where = self._settings.runtime_config_map
        return f"{where.namespace}/{where.name}" if where else ""
