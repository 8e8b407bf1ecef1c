"""Tokens of a real API server, good and dead, and a signer that has the right to review tokens and no other."""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import rbac
from tests.cluster.api import ISTIO_AUDIENCE, Kube
from tests.cluster.process import Cluster
from tests.cluster.tokens import expired, resign
from tests.server import cas
from tests.server.loop import LoopThread
from tests.server.running import ACCOUNT, NAMESPACE, Running, configuration, running


@dataclass
class Review:
    """A cluster in which the corpus's identity has pods."""

    kube: Kube
    cluster: Cluster

    def pod_token(self, audiences: Sequence[str] = ISTIO_AUDIENCE, pod: str = "api-1") -> str:
        """A token of a pod that is there."""
        self._pod(pod)
        return self.kube.pod_token(NAMESPACE, ACCOUNT, pod, audiences)

    def _pod(self, name: str, account: str = ACCOUNT) -> None:
        self.kube.create_namespace(NAMESPACE)
        self.kube.create_service_account(NAMESPACE, account)
        self.kube.create_pod(NAMESPACE, name, account)

    def account_token(self) -> str:
        """A token for the API server itself."""
        return self.kube.service_account_token(NAMESPACE, ACCOUNT)

    def expired(self, ago: int) -> str:
        """A good token of some time ago."""
        return expired(self.pod_token(), self.cluster.service_account_key, ago)

    def resigned(self, **claims: object) -> str:
        """Other claims under the cluster's own signature."""
        return resign(self.pod_token(), self.cluster.service_account_key, **claims)

    def not_yet(self) -> str:
        """A token of tomorrow."""
        start = int(time.time()) + 86400
        return self.resigned(nbf=start, exp=start + 600)

    def cut(self) -> str:
        """A token whose signature's end is lost."""
        return self.pod_token()[:-8]

    def token_of_deleted_pod(self) -> str:
        """Never reviewed before the deletion: the API server remembers good verdicts for some seconds."""
        name = f"gone-{uuid.uuid4().hex[:8]}"
        token = self.pod_token(pod=name)
        self.kube.delete_pod(NAMESPACE, name)
        return token

    def token_of_remade_pod(self) -> str:
        """The pod is there, but it is another one of the same name."""
        name = f"again-{uuid.uuid4().hex[:8]}"
        token = self.pod_token(pod=name)
        self.kube.delete_pod(NAMESPACE, name)
        self._pod(name)
        return token

    def token_of_deleted_account(self) -> str:
        """The pod is there, its service account is not."""
        name = f"gone-{uuid.uuid4().hex[:8]}"
        self._pod(name, name)
        token = self.kube.pod_token(NAMESPACE, name, name)
        self.kube.delete("v1", "ServiceAccount", name, NAMESPACE)
        return token

    def administrator(self) -> str:
        """The token of a user who may do everything."""
        return self.kube.access.token


@contextmanager
def reviewing(loops: LoopThread, place: Path, review: Review, **over: Any) -> Iterator[Running]:
    """A signer that asks the API server."""
    place.mkdir(parents=True, exist_ok=True)
    kubeconfig = rbac.account_kubeconfig(review.kube, place / "kubeconfig", "istio-system", "signer")
    clusters = [{"id": "Kubernetes", "kubeconfig": str(kubeconfig)}]
    config = configuration(cas.init(place / "ca"), clusters=clusters, **over)
    with running(loops, place, config, mint=review.pod_token) as at_work:
        yield at_work
