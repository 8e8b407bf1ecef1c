"""A replica of the signer as far as istiod's Secret goes, and the Secret as an administrator sees it."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from backends.local.backend import LocalBackend, LocalSettings
from signer.core.chain import TrustBundle
from signer.core.errors import BackendUnavailable
from signer.core.ports import Clock
from signer.core.spec import BackendContext
from signer.core.types import IssuedChain, SigningRequest
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.trust.istiod.judge import Wanted
from signer.trust.istiod.mender import plan
from signer.trust.istiod.secret import Manifest, Place, names
from signer.trust.istiod.service import IstiodCertificate, News
from signer.trust.istiod.store import SecretStore
from signer.trust.serving_sources import FromBackend
from tests.cluster.api import Kube
from tests.cluster.client import ApiError
from tests.cluster.rbac import grant
from tests.support.ca_files import bundle, write
from tests.support.fakes import FakeBundle, Switch
from tests.support.pki import Ca, key_pem
from tests.support.sockets import sockets_closed

RIGHTS = Path(__file__).resolve().parents[2] / "deploy" / "rbac" / "istiod-certificate.yaml"
NAME, TTL = "istiod-tls", timedelta(hours=24)


def rights() -> list[dict[str, Any]]:
    """What the manifest gives."""
    role = next(iter(yaml.safe_load_all(RIGHTS.read_text())))
    return list(role["rules"])


def ca_files(directory: Path, signer: Ca, above: tuple[Ca, ...], root: Ca) -> Path:
    """A CA under the names of a TLS Secret."""
    files = {"tls.crt": bundle([signer, *above]), "tls.key": key_pem(signer.key), "ca.crt": bundle([root])}
    return write(directory, files)


class Held(LocalBackend):
    """The local backend, which may be held or be down while it signs."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        super().__init__(LocalSettings(directory), BackendContext("local", clock))
        self.switch = Switch()

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Sign, once the switch lets it."""
        await self.switch.passing()
        return await super().sign(request)


@dataclass
class Office:
    """Who leads, as a test says."""

    leads: bool = True


@dataclass
class Replica:
    """One service with its parts in reach."""

    api: KubeApi
    place: Place
    backend: Held
    bundle: FakeBundle
    clock: Clock
    wanted: Wanted
    office: Office = field(default_factory=Office)
    news: list[News] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have it run."""
        source = FromBackend(self.backend, self.bundle, plan(self.wanted, TTL), self.clock)
        store = SecretStore(self.api, self.place)
        service = IstiodCertificate(store, source, self.bundle, self.wanted, self.clock, self.office, self.news.append)
        work = asyncio.create_task(service.run())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def down(self, reason: str = "sealed") -> None:
        """Have the backend fail."""
        self.backend.switch.fault = BackendUnavailable(reason)

    @property
    def results(self) -> list[str]:
        """Of renewals."""
        return [news.result for news in self.news if news.result]


@dataclass
class Stage:
    """A namespace with the Secret in it, and replicas beside it."""

    kube: Kube
    namespace: str
    kubeconfig: Path
    directory: Path
    root: Ca
    clock: Clock
    opened: list[KubeApi] = field(default_factory=list)

    @classmethod
    def of(cls, kube: Kube, namespace: str, folder: Path, cas: tuple[Ca, Ca], clock: Clock) -> "Stage":
        """Make an account with the manifest's rights, and the CA's files."""
        root, signer = cas
        kube.create_service_account(namespace, "istio-signer")
        grant(kube, namespace, "istio-signer", rights(), cluster_wide=False)
        kubeconfig = kube.write_kubeconfig(folder / "kubeconfig", namespace, "istio-signer")
        return cls(kube, namespace, kubeconfig, ca_files(folder / "ca", signer, (), root), root, clock)

    async def replica(self, **changes: Any) -> Replica:
        """One more of them; ``changes`` are of what is wanted."""
        api = await connect(self.kubeconfig)
        self.opened.append(api)
        wanted = replace(Wanted(names(self.namespace, ["default", "canary"], ["istiod.example"]), 0.5), **changes)
        backend = Held(self.directory, self.clock)
        await backend.start()
        place = Place(self.namespace, NAME)
        return Replica(api, place, backend, FakeBundle(self.root), self.clock, wanted)

    async def close(self) -> None:
        """Close what was opened."""
        for api in self.opened:
            await api.close()
        await sockets_closed()

    def secret(self) -> Manifest | None:
        """As it is."""
        try:
            return self.kube.get("v1", "Secret", NAME, self.namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def delete(self) -> None:
        """By hand."""
        self.kube.delete("v1", "Secret", NAME, self.namespace)

    def edit(self, **values: str | None) -> None:
        """By hand; ``_`` stands for the dot, None takes the key away."""
        patch = {"data": {key.replace("_", "."): value for key, value in values.items()}}
        path = self.kube.path("v1", "Secret", NAME, self.namespace)
        self.kube.call("PATCH", path, patch, content_type="application/merge-patch+json")

    async def becomes(self, holds: Callable[[Manifest], bool], seconds: float = 10.0) -> Manifest:
        """Wait until the Secret is there and something holds of it.

        Raises:
            TimeoutError: It does not come to hold.
        """
        async with asyncio.timeout(seconds):
            while True:
                secret = await asyncio.to_thread(self.secret)
                if secret is not None and holds(secret):
                    return secret
                await asyncio.sleep(0.02)


def data(secret: Manifest | None, key: str) -> bytes:
    """One value."""
    return b64decode(((secret or {}).get("data") or {}).get(key, ""))


def serial(secret: Manifest | None) -> int:
    """Of the certificate."""
    return x509.load_pem_x509_certificate(data(secret, "tls.crt")).serial_number


def roots(*cas: Ca) -> str:
    """The bundle's text."""
    return TrustBundle.of(ca.certificate for ca in cas).pem
