"""Signs each leaf by a CertificateSigningRequest."""

import asyncio
from collections.abc import Callable

from backends.kube_requests.service import RequestService
from backends.kube_requests.text import derived_name, leaf_usages
from backends.kubernetes_csr.cas import SignersCas
from backends.kubernetes_csr.request import SigningRequests, manifest, seconds_of, signer_of
from backends.kubernetes_csr.settings import KubernetesCsrSettings
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, IssuerInfo, SigningRequest


class KubernetesCsrBackend:
    """A signer behind the Kubernetes CSR API."""

    def __init__(self, settings: KubernetesCsrSettings, context: BackendContext) -> None:
        self.name = context.name
        self._settings = settings
        self._clock = context.clock
        access = context.cluster(settings.kubeconfig, settings.kube_context)
        self._service = RequestService(SigningRequests(settings.approve), *access, context, settings.preserve)
        self._cas = SignersCas(settings.roots_file, context, bool(settings.signer_domain))

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Have the signer sign.

        Raises:
            BackendUnavailable: The API server cannot take it, a right is missing, or too many signers have signed.
            BackendRefused: Denied, failed, or for less than 10 minutes.
            BackendTimeout: Nobody has decided in time.
        """
        desk, settings, parsed = self._service.ready(), self._settings, request.csr.parsed
        signer = signer_of(settings.signer_name, settings.signer_domain, request.signer_name)
        self._cas.check_room(signer)
        not_after = min(filter(None, (request.validity.not_after, self._cas.end(signer))))
        seconds = seconds_of(not_after - self._clock.now())
        wanted = manifest(parsed.request, signer, seconds, leaf_usages(request), self._service.labels)
        name = derived_name(self.name, str(request.subject), parsed.digest, signer, str(request.validity.requested))
        verdict = await desk.settle(name, wanted, settings.timeout.total_seconds(), str(request.subject))
        ca = await self._cas.of(signer)
        return await ca.read(verdict.certificate, asked=request)

    async def issuer(self) -> IssuerInfo:
        """Describe the CA as far as it is known: the roots are those of ``roots_file``.

        Raises:
            BackendUnavailable: There is no access to the cluster.
        """
        self._service.ready()
        return self._cas.info()

    async def probe(self) -> None:
        """Check that the one watch works.

        Raises:
            BackendUnavailable: It does not.
        """
        self._service.probe()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the roots change."""
        self._cas.on_change(callback)

    async def start(self) -> None:
        """Open the connection and read the roots' file."""
        await asyncio.gather(self._service.start(), self._cas.refresh())

    async def run(self) -> None:
        """Watch, clean up and follow the roots' file."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._service.run())
            group.create_task(self._cas.run())

    async def close(self) -> None:
        """Delete what is left."""
        await self._service.close()
