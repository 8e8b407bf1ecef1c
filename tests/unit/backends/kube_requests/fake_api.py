"""An API server's part in a request: creates, conflicts and what stands under a name, as a test tells it."""

import asyncio
from typing import Any

from backends.kube_requests.batches import Batches
from backends.kube_requests.desk import Desk
from backends.kubernetes_csr.request import SigningRequests
from signer.core.events import NoMeter
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.watch import Watch

Manifest = dict[str, Any]
NAME = "istio-signer-0"
OURS, MALLORY = "system:serviceaccount:istio-system:signer", "system:serviceaccount:shop:mallory"
LABELS = {"app.kubernetes.io/managed-by": "istio-signer", "istio-signer.io/backend": "csr"}


def wanted(**changes: Any) -> Manifest:
    """What we would write."""
    usages = ["digital signature", "server auth", "client auth"]
    spec = {"request": "T1VSUw==", "signerName": "a.b/c", "expirationSeconds": 3600, "usages": usages}
    return {"kind": "CertificateSigningRequest", "metadata": {"labels": LABELS}, "spec": spec | changes}


def stored(uid: str = "first", user: str = OURS, **changes: Any) -> Manifest:
    """It, as the server keeps it."""
    made = wanted(**changes)
    metadata = {**made["metadata"], "name": NAME, "uid": uid, "resourceVersion": "1"}
    return {**made, "metadata": metadata, "spec": {**made["spec"], "username": user}}


def signed(item: Manifest) -> Manifest:
    """It, once the signer has signed."""
    conditions = [{"type": "Approved", "status": "True"}]
    return {**item, "status": {"certificate": "c2lnbmVk", "conditions": conditions}}


class FakeApi:
    """One object under one name.

    Attributes:
        item: What stands there.
        plan: Answers to the next calls of a method and path's end, before the usual ones.
    """

    def __init__(self, item: Manifest | None = None) -> None:
        self.item = item
        self.plan: dict[str, list[Answer | ApiUnavailable]] = {}
        self.calls: list[str] = []
        self.approved: list[Manifest] = []
        self.made = 0

    async def call(self, method: str, path: str, _timeout: float, body: Any = None, **_more: Any) -> Answer:
        """Answer."""
        await asyncio.sleep(0)
        told = f"{method} {'dry' if 'dryRun' in path else path.rpartition('/')[2]}"
        self.calls.append(told)
        if self.plan.get(told):
            planned = self.plan[told].pop(0)
            if isinstance(planned, ApiUnavailable):
                raise planned
            return planned
        return self._usual(told.partition(" ")[0], told, body)

    def _usual(self, method: str, told: str, body: Any) -> Answer:
        if method == "POST":
            return self._post(told, body)
        if method == "PUT":
            self.approved.append(body)
            return Answer(200, body)
        if self.item is None:
            return Answer(404, {})
        found = self.item
        if method == "DELETE":
            self.item = None
        return Answer(200, found)

    def _post(self, told: str, body: Any) -> Answer:
        if self.item is not None and told != "POST dry":
            return Answer(409, {"reason": "AlreadyExists"})
        self.made += 1
        metadata = {**body["metadata"], "uid": f"made {self.made}"}
        made = {**body, "metadata": metadata, "spec": {**body["spec"], "username": OURS}}
        if told != "POST dry":
            self.item = made
        return Answer(201, made)


class FakeWatch(Watch):
    """A watch that works and brings nothing."""

    def __init__(self) -> None:
        self.broken_since, self.fault = None, ""
        self.restarts = 0

    def restart(self, why: str) -> None:
        """Count it."""
        self.restarts += 1


def desk(api: FakeApi, approve: bool = True, batches: Batches | None = None) -> Desk:
    """A desk before that server."""
    made = Desk(api, SigningRequests(approve), batches or Batches(20), NoMeter())  # type: ignore[arg-type]
    made.watch = FakeWatch()
    return made
