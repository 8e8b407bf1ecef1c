"""Two clusters and what happens in each: pods, tokens, accounts for the signer, and remote secrets."""

import base64
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import rbac
from tests.cluster.api import ISTIO_AUDIENCE, Kube
from tests.cluster.kubeconfig import Access
from tests.cluster.process import Cluster
from tests.corpus.build import good_csr
from tests.server.calls import Call, bearer

SHOP, PROXIES, SIGNER = "two-shop", "two-proxies", "two-signer"
FOLLOW: dict[str, Any] = {
    "apiGroups": [""],
    "resources": ["pods", "serviceaccounts"],
    "verbs": ["get", "list", "watch"],
}
SECRETS: dict[str, Any] = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}
RIGHTS = [rbac.CREATE_TOKEN_REVIEWS, FOLLOW, SECRETS]


@dataclass(frozen=True, slots=True)
class Side:
    """One cluster, as its administrator and its workloads see it."""

    name: str
    kube: Kube
    cluster: Cluster
    domain: str = "cluster.local"
    audiences: Sequence[str] = ISTIO_AUDIENCE

    def identity(self, account: str) -> str:
        """The SPIFFE id of an account here."""
        return f"spiffe://{self.domain}/ns/{SHOP}/sa/{account}"

    def token(self, account: str, *, node: str = "node-1", namespace: str = SHOP, audiences: Sequence[str] = ()) -> str:
        """A token of a pod just made."""
        name = self.pod(account, node=node, namespace=namespace)
        return self.kube.pod_token(namespace, account, name, audiences or self.audiences)

    def pod(self, account: str, *, node: str = "node-1", namespace: str = SHOP) -> str:
        """Make a pod; give its name."""
        name = f"{account}-{uuid.uuid4().hex[:6]}"
        self.kube.create_namespace(namespace)
        self.kube.create_service_account(namespace, account)
        self.kube.create_pod(namespace, name, account, node)
        return name

    def call(self, token: str, account: str = "cart", cluster: str | None = None) -> Call:
        """Ask for an account's certificate, as a caller of this cluster or of the one that is named."""
        return Call(good_csr(uri=self.identity(account)), bearer(token), (self.name if cluster is None else cluster,))

    def act(self, token: str, account: str, cluster: str | None = None) -> Call:
        """What a node's proxy sends for a workload."""
        identity = self.identity(account)
        call = self.call(token, account, cluster)
        return Call(call.csr, call.authorization, call.clusters, hints={"ImpersonatedIdentity": identity})

    def access(self, account: str, rules: Sequence[dict[str, Any]] = RIGHTS) -> Access:
        """The signer's own, by an account that has these rights only."""
        self.kube.create_namespace(SIGNER)
        self.kube.create_service_account(SIGNER, account)
        rbac.grant(self.kube, SIGNER, account, rules)
        return self.kube.access.with_token(self.kube.service_account_token(SIGNER, account))

    def kubeconfig(self, place: Path, account: str = "signer", rules: Sequence[dict[str, Any]] = RIGHTS) -> Path:
        """The same as a file."""
        place.mkdir(parents=True, exist_ok=True)
        return self.access(account, rules).write(place / f"kubeconfig-{self.name}")


@contextmanager
def second(place: Path, domain: str = "cluster.local", audiences: Sequence[str] = ISTIO_AUDIENCE) -> Iterator[Side]:
    """A cluster of the test's own, named ``far``."""
    with Cluster(place, audit=True) as cluster, Kube.load(cluster.kubeconfig) as kube:
        kube.create_namespace(SHOP)
        yield Side("far", kube, cluster, domain, audiences)


def document(access: Access, place: Path) -> dict[str, Any]:
    """A kubeconfig with its CA and its token inline, as `istioctl create-remote-secret` makes it."""
    content: dict[str, Any] = yaml.safe_load(access.write(place / "written").read_text())
    return content


def put_secret(kube: Kube, namespace: str, name: str, entries: dict[str, str], label: str = "true") -> None:
    """Make or change a remote secret: cluster id -> text of a kubeconfig; one only if its label is ``true``."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in entries.items()}
    metadata = {"name": name, "namespace": namespace, "labels": {"istio/multiCluster": label}}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def pieces(access: Access) -> list[str]:
    """Parts of a credential that no log may hold."""
    return [access.token[at : at + 24] for at in (0, len(access.token) // 2, len(access.token) - 24)]
