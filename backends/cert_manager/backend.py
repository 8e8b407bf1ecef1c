"""Signs each leaf by a CertificateRequest."""

import asyncio
from collections.abc import Callable

from backends.cert_manager.issuer import CurrentIssuer
from backends.cert_manager.request import IDENTITIES, CertificateRequests, Order, manifest
from backends.cert_manager.settings import CertManagerSettings
from backends.kube_requests.service import RequestService
from backends.kube_requests.text import derived_name, leaf_usages
from backends.remote.learning import LearntCa
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, IssuerInfo, SigningRequest


def open_service(settings: CertManagerSettings, context: BackendContext) -> RequestService:
    """Make the machinery behind a backend of these settings."""
    access = context.cluster(settings.kubeconfig, settings.kube_context)
    return RequestService(CertificateRequests(settings.namespace), *access, context, settings.preserve)


class CertManagerBackend:
    """An issuer of cert-manager."""

    def __init__(self, settings: CertManagerSettings, context: BackendContext) -> None:
        self.name = context.name
        self._settings = settings
        self._clock = context.clock
        self._service = open_service(settings, context)
        self._issuer = CurrentIssuer(settings, context.name)
        self._ca = LearntCa(settings.roots_file, context)
        self._issuer.on_change(self._ca.move_on)

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Have the issuer sign; the CA that comes with the answer is known before the answer is given on.

        Raises:
            BackendUnavailable: The API server cannot take it, a right is missing, or it is not known who signs.
            BackendRefused: Denied, failed, or invalid.
            BackendTimeout: Nobody has decided in time.
        """
        desk, issuer = self._service.ready(), self._issuer.ref
        now = self._clock.now()
        parsed = request.csr.parsed
        lifetime = request.validity.not_after - now
        order = Order(parsed.request, lifetime, leaf_usages(request), issuer)
        annotations = {IDENTITIES: str(request.subject), **self._settings.annotations}
        asked = (issuer.group, issuer.kind, issuer.name, str(request.validity.requested))
        name = derived_name(self.name, str(request.subject), parsed.digest, *asked)
        wanted = manifest(order, self._service.labels, annotations)
        verdict = await desk.settle(name, wanted, self._settings.timeout.total_seconds(), str(request.subject))
        chain = await self._ca.read(verdict.certificate, verdict.ca, request)
        if issuer != self._issuer.ref:
            # It was late: what comes next is another CA's.
            self._ca.move_on()
        return chain

    async def issuer(self) -> IssuerInfo:
        """Describe the CA as far as it is known: cert-manager shows it only in its answers.

        Raises:
            BackendUnavailable: There is no access to the cluster.
        """
        self._service.ready()
        return self._ca.info()

    async def probe(self) -> None:
        """Check that the one watch works.

        Raises:
            BackendUnavailable: It does not.
        """
        self._service.probe()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when another CA has signed."""
        self._ca.on_change(callback)

    async def start(self) -> None:
        """Open the connection, read the roots' file and the issuer's ConfigMap."""
        await asyncio.gather(self._service.start(), self._ca.refresh())
        await self._issuer.start(self._service)

    async def run(self) -> None:
        """Watch, clean up, follow the issuer's ConfigMap and the roots' file."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._service.run())
            group.create_task(self._issuer.follow(self._service))
            group.create_task(self._ca.run())

    async def close(self) -> None:
        """Delete what is left."""
        self._issuer.close()
        await self._service.close()
