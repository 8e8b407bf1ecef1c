"""The pods and service accounts of a large cluster, as the API server has them: made by number, never kept."""

import json
from dataclasses import dataclass
from typing import Any

PER_NAMESPACE, PER_NODE, ACCOUNTS = 100, 30, 5
SERVER = "10.128.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """Who one pod is."""

    number: int
    namespace: str
    name: str
    uid: str
    account: str
    node: str

    @property
    def identity(self) -> str:
        """Its SPIFFE id."""
        return f"spiffe://cluster.local/ns/{self.namespace}/sa/{self.account}"

    @property
    def account_uid(self) -> str:
        """That of its service account."""
        return _uid(0xACC, self.number // PER_NAMESPACE * ACCOUNTS + self.number % ACCOUNTS)

    def claims(self) -> dict[str, Any]:
        """The private claims of its token."""
        return {
            "namespace": self.namespace,
            "node": {"name": self.node, "uid": _uid(0x0DE, self.number % 0xFFFF)},
            "pod": {"name": self.name, "uid": self.uid},
            "serviceaccount": {"name": self.account, "uid": self.account_uid},
        }


class Population:
    """So many pods, 100 in a namespace, 30 on a node, of 5 service accounts in each namespace."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._nodes = max(1, count // PER_NODE)
        self._template = json.dumps(_pod(), separators=(",", ":")).replace("%", "%%")
        for key in ("namespace", "name", "uid", "account", "node", "version"):
            self._template = self._template.replace(f"@{key}@", f"%({key})s")

    def place(self, number: int) -> Place:
        """One of them."""
        account = f"app-{number % ACCOUNTS}"
        name = f"{account}-6d4cf5{number % 0xFFFF:04x}-{number:05x}"
        namespace = f"team-{number // PER_NAMESPACE:05d}"
        return Place(number, namespace, name, _uid(0xB0D, number), account, f"ip-10-0-{number % self._nodes}.internal")

    def pod(self, number: int, version: int) -> str:
        """Its manifest, some 5 KB of JSON."""
        place = self.place(number)
        names = {"namespace": place.namespace, "name": place.name, "uid": place.uid, "account": place.account}
        return self._template % {**names, "node": place.node, "version": version}

    def accounts(self) -> list[str]:
        """The manifests of all service accounts."""
        made = {}
        for first in range(0, self.count, PER_NAMESPACE):
            for number in range(first, min(first + ACCOUNTS, self.count)):
                place = self.place(number)
                metadata = {"namespace": place.namespace, "name": place.account, "uid": place.account_uid}
                made[place.account_uid] = json.dumps({"metadata": {**metadata, "resourceVersion": "1"}})
        return list(made.values())


def _uid(kind: int, number: int) -> str:
    return f"{number * 2654435761 % 2**32:08x}-{kind:04x}-4000-8000-{number:012x}"


def _pod() -> dict[str, Any]:
    """With a sidecar, its projected volumes and what three managers own, as kubectl shows it."""
    containers = [_container("main"), _container("istio-proxy")]
    volumes = [{"name": n, "projected": {"defaultMode": 420, "sources": [_source()]}} for n in ("istio-token", "api")]
    return {
        "metadata": {
            "name": "@name@",
            "namespace": "@namespace@",
            "uid": "@uid@",
            "resourceVersion": "@version@",
            "creationTimestamp": "2026-11-01T08:00:00Z",
            "generateName": "@account@-6d4cf5-",
            "labels": {"app": "@account@", "pod-template-hash": "6d4cf5", "version": "v1", "team": "@namespace@"},
            "annotations": {
                "prometheus.io/scrape": "true",
                "sidecar.istio.io/status": '{"containers":["istio-proxy"]}',
            },
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "@account@", "uid": "@uid@"}],
            "managedFields": [_managed("kube-controller-manager", 10), _managed("multus", 2), _managed("kubelet", 14)],
        },
        "spec": {
            "serviceAccountName": "@account@",
            "nodeName": "@node@",
            "containers": containers,
            "volumes": volumes,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}] * 2,
        },
        "status": {
            "phase": "Running",
            "hostIP": SERVER,
            "podIP": "10.1.2.3",
            "conditions": [{"type": t, "status": "True"} for t in ("Initialized", "Ready", "PodScheduled")],
            "containerStatuses": [{"name": c["name"], "ready": True, "restartCount": 0} for c in containers],
        },
    }


def _container(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": f"registry.example/{name}@sha256:{'ab' * 32}",
        "env": [{"name": f"SETTING_{n}", "value": f"value of {n}"} for n in range(8)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": True}],
    }


def _source() -> dict[str, Any]:
    return {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}}


def _managed(manager: str, fields: int) -> dict[str, Any]:
    owned: dict[str, Any] = {
        f'k:{{"name":"SETTING_{n}"}}': {".": {}, "f:name": {}, "f:value": {}} for n in range(fields)
    }
    content = {"f:spec": {"f:containers": {'k:{"name":"main"}': {"f:env": owned}}}}
    head = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-11-01T08:00:00Z"}
    return {**head, "fieldsType": "FieldsV1", "fieldsV1": content}
