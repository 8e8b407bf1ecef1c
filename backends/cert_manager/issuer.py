"""Which issuer signs now: the configured one, or the one that a ConfigMap names while it is there.

The keys are those of istio-csr's runtime configuration, so that one ConfigMap serves both.
"""

import logging
from typing import Any

from backends.cert_manager.settings import CertManagerSettings, IssuerRef
from backends.kube_requests.service import RequestService
from signer.kube.watch import Watch

_log = logging.getLogger("istio_signer.backend.cert_manager")
KEYS = {"name": "issuer-name", "kind": "issuer-kind", "group": "issuer-group"}


class CurrentIssuer:
    """Follows the ConfigMap, where one is configured."""

    def __init__(self, settings: CertManagerSettings, backend: str) -> None:
        self._settings = settings
        self._backend = backend
        self.ref = settings.issuer

    async def follow(self, service: RequestService) -> None:
        """Follow the ConfigMap for as long as there is one to follow."""
        where = self._settings.runtime_config_map
        await service.opened.wait()
        if where is None or service.api is None:
            return
        path = f"/api/v1/namespaces/{where.namespace}/configmaps"
        await Watch(service.api, path, {"fieldSelector": f"metadata.name={where.name}"}, self).run()

    def listed(self, objects: list[dict[str, Any]]) -> None:
        """The ConfigMap as of now, or none."""
        self._take(objects[0].get("data") if objects else None)

    def changed(self, kind: str, item: dict[str, Any]) -> None:
        """It has changed, or gone."""
        self._take(None if kind == "DELETED" else item.get("data"))

    def _take(self, data: Any) -> None:
        before, self.ref = self.ref, self._read(data)
        if self.ref != before:
            _log.info("backend %s: signs by %s %s now", self._backend, self.ref.kind, self.ref.name)

    def _read(self, data: Any) -> IssuerRef:
        configured = self._settings.issuer
        if not isinstance(data, dict):
            return configured
        given = {field: data[key].strip() for field, key in KEYS.items() if isinstance(data.get(key), str)}
        given = {field: value for field, value in given.items() if value}
        try:
            return IssuerRef(**given) if "name" in given else self._refuse("issuer-name is missing")
        except ValueError as error:
            return self._refuse(str(error))

    def _refuse(self, fault: str) -> IssuerRef:
        where = self._settings.runtime_config_map
        name = f"{where.namespace}/{where.name}" if where else ""
        kept = self._settings.issuer.name
        _log.error("backend %s: ConfigMap %s: %s; %s signs", self._backend, name, fault, kept)
        return self._settings.issuer
