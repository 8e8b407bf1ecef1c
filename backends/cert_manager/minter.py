"""Has cert-manager sign an intermediate: a CertificateRequest with ``isCA``."""

import asyncio
from collections.abc import Callable

from backends.cert_manager.backend import open_service
from backends.cert_manager.issuer import CurrentIssuer
from backends.cert_manager.request import Order, manifest
from backends.cert_manager.settings import CertManagerSettings
from backends.intermediate.minting import CaOrder, MintedCa
from backends.kube_requests.text import derived_name
from backends.remote.authorities import describe
from backends.remote.parsing import certificates
from backends.remote.roots import RootsFile
from signer.core.spec import BackendContext

_USAGES = ("digital signature", "cert sign", "crl sign")


class CertManagerMinter:
    """The upstream of an intermediate that an issuer signs."""

    def __init__(self, settings: CertManagerSettings, context: BackendContext) -> None:
        self._settings = settings
        self._name = context.name
        self._service = open_service(settings, context)
        self._issuer = CurrentIssuer(settings, context.name)
        self._file = RootsFile(settings.roots_file, context.name)

    async def mint(self, order: CaOrder) -> MintedCa:
        """Have an intermediate signed. Errors: as ``Desk.settle`` and ``CurrentIssuer.ref``."""
        desk, issuer = self._service.ready(), self._issuer.ref
        await self._file.refresh()
        wanted = manifest(
            Order(order.csr, order.ttl, _USAGES, issuer, is_ca=True), self._service.labels, self._settings.annotations
        )
        name = derived_name(self._name, order.id)
        verdict = await desk.settle(name, wanted, self._settings.timeout.total_seconds())
        found = certificates(verdict.certificate + verdict.ca, "the certificates in the status")
        above = describe(found[1:], found[0])
        return MintedCa(found[0], above.issuers, self._file.roots or above.roots)

    async def start(self) -> None:
        """Open the connection and read the issuer's ConfigMap."""
        await self._service.start()
        await self._issuer.start(self._service)

    def on_upstream_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when another issuer is named."""
        self._issuer.on_change(callback)

    async def run(self) -> None:
        """Watch, clean up and follow the issuer's ConfigMap."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._service.run())
            group.create_task(self._issuer.follow(self._service))

    async def close(self) -> None:
        """Delete what is left."""
        self._issuer.close()
        await self._service.close()
