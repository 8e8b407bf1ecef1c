"""What these tests need: accounts with exactly the rights of a distributor, and one at work on some namespaces."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signer.core.chain import TrustBundle
from signer.kube.connect import connect
from signer.trust.distribution.distributor import DistributionPlan, Distributor
from signer.trust.distribution.objects import KEY
from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.rbac import account_kubeconfig
from tests.mesh.pki import Authority

NAME = "istio-ca-root-cert"
DISTRIBUTE: tuple[Manifest, ...] = (
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": ["get", "list", "watch", "patch"],
        "resourceNames": [NAME],
    },
)


def bundle(*names: str) -> TrustBundle:
    """Fresh roots."""
    return TrustBundle.of(Authority.root(name).certificate for name in names)


@dataclass
class Switchable:
    """A leadership that a test gives and takes."""

    leads: bool = True


@dataclass
class Counted:
    """A tally that remembers."""

    results: dict[str, int] = field(default_factory=dict)
    last: tuple[int, int] = (0, 0)

    def wrote(self, result: str) -> None:
        """Count."""
        self.results[result] = self.results.get(result, 0) + 1

    def namespaces(self, total: int, pending: int) -> None:
        """Note."""
        self.last = total, pending


@dataclass
class Scene:
    """A distributor for the namespaces of one label."""

    distributor: Distributor
    wanted: list[TrustBundle]
    leads: Switchable
    tally: Counted

    def change(self, fresh: TrustBundle) -> None:
        """The bundle changes."""
        self.wanted[0] = fresh
        self.distributor.bundle_changed()


@dataclass(frozen=True)
class Field:
    """Some namespaces of a test's own."""

    kube: Kube
    kubeconfig: Path
    label: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @classmethod
    def of(cls, kube: Kube, folder: Path) -> "Field":
        """With an account of its own."""
        namespace = f"signer-{uuid.uuid4().hex[:8]}"
        return cls(kube, account_kubeconfig(kube, folder / "kubeconfig", namespace, "signer", DISTRIBUTE))

    def namespace(self) -> str:
        """Make a namespace that is selected."""
        name = f"app-{uuid.uuid4().hex[:12]}"
        self.kube.create_namespace(name, {"test": self.label})
        return name

    def text(self, namespace: str) -> str | None:
        """What the namespace holds."""
        found = self.map(namespace)
        return None if found is None else str((found.get("data") or {}).get(KEY))

    def map(self, namespace: str) -> dict[str, Any] | None:
        """The whole ConfigMap."""
        found = [m for m in self.kube.list_all("v1", "ConfigMap", namespace) if m["metadata"]["name"] == NAME]
        return found[0] if found else None

    @asynccontextmanager
    async def distributing(self, wanted: TrustBundle, leads: Switchable | None = None) -> AsyncIterator[Scene]:
        """Have a distributor at work."""
        api = await connect(self.kubeconfig)
        held, leading, tally = [wanted], leads or Switchable(), Counted()
        plan = DistributionPlan(NAME, f"test={self.label}", 4)
        distributor = Distributor(api, plan, lambda _: held[0], leading, tally)
        work = asyncio.create_task(distributor.run())
        try:
            yield Scene(distributor, held, leading, tally)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await api.close()


async def until(probe: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait without stopping the loop."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not await asyncio.to_thread(probe):
        if loop.time() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(0.02)
