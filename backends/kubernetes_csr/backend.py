"""Signs each leaf by a CertificateSigningRequest."""

import asyncio
from collections.abc import Callable

from backends.kube_requests.service import RequestService
from backends.kube_requests.text import certificates, derived_name, leaf_usages
from backends.kubernetes_csr.request import SigningRequests, manifest, seconds_of, signer_of
from backends.kubernetes_csr.settings import KubernetesCsrSettings
from backends.remote.authorities import Authorities
from backends.remote.roots import RootsFile
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, IssuerInfo, SigningRequest

ROOTS_SECONDS = 10.0


class KubernetesCsrBackend:
    """A signer behind the Kubernetes CSR API."""

    def __init__(self, settings: KubernetesCsrSettings, context: BackendContext) -> None:
        self.name = context.name
        self._settings = settings
        self._clock = context.clock
        own = settings.kubeconfig is not None
        access = (settings.kubeconfig, settings.kube_context) if own else (context.kubeconfig, context.kube_context)
        self._service = RequestService(SigningRequests(settings.approve), *access, context, settings.preserve)
        self._file = RootsFile(settings.roots_file, context.name)
        self._known = Authorities()
        self._callbacks: list[Callable[[], None]] = []

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Have the signer sign.

        Raises:
            BackendUnavailable: The API server cannot take it, or a right is missing.
            BackendRefused: Denied, failed, or for less than 10 minutes.
            BackendTimeout: Nobody has decided in time.
        """
        desk, settings, parsed = self._service.ready(), self._settings, request.csr.parsed
        signer = signer_of(settings.signer_name, settings.signer_domain, request.signer_name)
        seconds = seconds_of(request.validity.not_after - self._clock.now())
        wanted = manifest(parsed.request, signer, seconds, leaf_usages(request), self._service.labels)
        name = derived_name(self.name, str(request.subject), parsed.digest, signer, str(request.validity.requested))
        verdict = await desk.settle(name, wanted, settings.timeout.total_seconds())
        return await self._issued(verdict.certificate)

    async def _issued(self, chain: str) -> IssuedChain:
        found = certificates(chain, "the certificate in the status")
        text = chain.partition("-----END CERTIFICATE-----")[2]
        authority, changed = self._known.learn(text, lambda: found[1:], found[0], self._clock.now())
        if changed:
            if not authority.chain:
                # Under a root that is not known: the file may have it by now.
                await self._read_roots()
            self._announce()
        return IssuedChain(found[0], authority.issuers)

    async def issuer(self) -> IssuerInfo:
        """Describe the CA as far as it is known: the roots are those of ``roots_file``.

        Raises:
            BackendUnavailable: There is no access to the cluster.
        """
        self._service.ready()
        return self._known.info(self._clock.now())

    async def probe(self) -> None:
        """Check that the one watch works.

        Raises:
            BackendUnavailable: It does not.
        """
        self._service.probe()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the roots change."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Open the connection and read the roots' file."""
        await asyncio.gather(self._service.start(), self._read_roots())

    async def run(self) -> None:
        """Watch, clean up and follow the roots' file."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._service.run())
            group.create_task(self._watch_roots())

    async def close(self) -> None:
        """Delete what is left."""
        await self._service.close()

    async def _watch_roots(self) -> None:
        while True:
            await asyncio.sleep(ROOTS_SECONDS)
            if await self._read_roots():
                self._announce()

    async def _read_roots(self) -> bool:
        changed = await self._file.refresh()
        self._known.pinned = self._file.roots
        return changed

    def _announce(self) -> None:
        for callback in self._callbacks:
            callback()
