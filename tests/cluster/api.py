"""What tests do to a cluster: make namespaces, service accounts and pods, get their tokens, apply manifests."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from tests.cluster.client import ApiError, Client, Manifest
from tests.cluster.kubeconfig import Access
from tests.cluster.poll import until

ISTIO_AUDIENCE = ("istio-ca",)
SHORTEST_TOKEN = 600
"""Seconds. The API refuses to issue tokens of less; see `tokens.resign` for those."""
APPLY_LIMIT = 15.0
"""Seconds for a kind just defined by a CustomResourceDefinition to be served."""


class Kube(Client):
    """The administrator's hands. Makes are idempotent: what is there already, and the same, is left as it is.

    Every method raises `ApiError` (or its `UnreachableError`), and takes at most the client's limit per API call.
    """

    @classmethod
    def load(cls, kubeconfig: Path) -> "Kube":
        """A client for the server and the user of a kubeconfig file. Errors: see `Access.load`."""
        return cls(Access.load(kubeconfig))

    def apply(self, manifests: str | Manifest | Iterable[Manifest], namespace: str = "default") -> list[Manifest]:
        """Create or update objects, in order; `namespace` is for those that name none. Returns what is stored.

        It is a server-side apply that takes over fields owned by others. A kind that the server does not know yet is
        awaited for `APPLY_LIMIT` seconds, for its definition may have been applied a moment ago.
        """
        return [self._apply(manifest, namespace) for manifest in _documents(manifests)]

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Manifest:
        """One object; `ApiError` with status 404 if there is none."""
        return self.call("GET", self.path(api_version, kind, name, namespace))

    def list_all(self, api_version: str, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        """All objects of a kind, in one namespace or in all, whose labels match `selector`."""
        answer = self.call("GET", self.path(api_version, kind, "", namespace), query={"labelSelector": selector})
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Delete at once, without grace; no error if it is gone. Namespaces stay: nothing here empties them."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        try:
            self.call("DELETE", self.path(api_version, kind, name, namespace), options)
        except ApiError as error:
            if error.status != 404:
                raise

    def create_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Make a namespace."""
        self._make("v1", "Namespace", name, labels=labels)

    def create_service_account(self, namespace: str, name: str) -> str:
        """Make a service account and return its uid."""
        return uid(self._make("v1", "ServiceAccount", name, namespace))

    def create_pod(self, namespace: str, name: str, service_account: str, node_name: str = "node-1") -> str:
        """Make a pod that "runs" on a node (made too, as an object) and return the pod's uid."""
        self._make("v1", "Node", node_name)
        containers = [{"name": "main", "image": "none"}]
        spec = {"serviceAccountName": service_account, "nodeName": node_name, "containers": containers}
        return uid(self._make("v1", "Pod", name, namespace, spec=spec))

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once. TokenReview may go on accepting its tokens for 10 s, from the server's cache."""
        self.delete("v1", "Pod", name, namespace)

    def pod_token(
        self,
        namespace: str,
        service_account: str,
        pod: str,
        audiences: Sequence[str] = ISTIO_AUDIENCE,
        expiration_seconds: int = 3600,
    ) -> str:
        """A token of the service account that is bound to the pod, by name and by its present uid.

        `expiration_seconds` of `SHORTEST_TOKEN` or more; a missing pod or service account is a 404.
        """
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid(self.get("v1", "Pod", pod, namespace))}
        return self._token(namespace, service_account, audiences, expiration_seconds, {"boundObjectRef": bound})

    def service_account_token(
        self,
        namespace: str,
        service_account: str,
        audiences: Sequence[str] = (),
        expiration_seconds: int = 3600,
    ) -> str:
        """A token of the service account that is bound to no pod; without audiences it is for the API server itself."""
        return self._token(namespace, service_account, audiences, expiration_seconds, {})

    def review_token(self, token: str, audiences: Sequence[str] = ISTIO_AUDIENCE) -> Manifest:
        """The status of a TokenReview: `authenticated`, `user`, `audiences`, `error`."""
        api_version, kind = "authentication.k8s.io/v1", "TokenReview"
        review = {"apiVersion": api_version, "kind": kind, "spec": {"token": token, "audiences": [*audiences]}}
        status: Manifest = self.call("POST", self.path(api_version, kind), review)["status"]
        return status

    def write_kubeconfig(self, path: Path, namespace: str, service_account: str) -> Path:
        """Write a kubeconfig that acts as the service account for an hour, and return its path."""
        token = self.service_account_token(namespace, service_account)
        return self.access.with_token(token).write(path, namespace)

    def wait_condition(self, manifest: Manifest, kind: str = "Ready", deadline: float = 15.0) -> Manifest:
        """Wait until the stored object's condition `kind` is true, and return the object.

        Raises:
            TimeoutError: it is not within `deadline` seconds; the text has the conditions.
        """
        name, namespace = manifest["metadata"]["name"], manifest["metadata"].get("namespace", "")
        latest = manifest

        def probe() -> Manifest | None:
            nonlocal latest
            latest = self.get(manifest["apiVersion"], manifest["kind"], name, namespace)
            return latest if condition(latest, kind) == "True" else None

        try:
            return until(probe, deadline=deadline, what=f"{kind} of {manifest['kind']} {name}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {latest.get('status')}") from None

    def _apply(self, manifest: Manifest, namespace: str) -> Manifest:
        api_version, kind, name = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]
        inside = manifest["metadata"].get("namespace", namespace)
        path = until(
            lambda: self._known_path(api_version, kind, name, inside),
            deadline=APPLY_LIMIT,
            what=f"the server to know {kind} in {api_version}",
        )
        query = {"fieldManager": "tests", "force": "true"}
        # JSON is YAML, and the content type is the only one that means server-side apply.
        return self.call("PATCH", path, manifest, query=query, content_type="application/apply-patch+yaml")

    def _known_path(self, api_version: str, kind: str, name: str, namespace: str) -> str | None:
        try:
            return self.path(api_version, kind, name, namespace)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def _make(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str = "",
        *,
        labels: dict[str, str] | None = None,
        **content: object,
    ) -> Manifest:
        metadata: Manifest = {"name": name, "labels": labels or {}} | ({"namespace": namespace} if namespace else {})
        return self._apply({"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}, namespace)

    def _token(
        self, namespace: str, service_account: str, audiences: Sequence[str], seconds: int, bound: Manifest
    ) -> str:
        spec = {"audiences": [*audiences], "expirationSeconds": seconds, **bound}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = self.path("v1", "ServiceAccount", service_account, namespace)
        return str(self.call("POST", f"{path}/token", request)["status"]["token"])


def uid(manifest: Manifest) -> str:
    """The uid the server gave to a stored object."""
    return str(manifest["metadata"]["uid"])


def condition(manifest: Manifest, kind: str) -> str:
    """The status ("True", "False", "Unknown") of an object's condition, or "" where it has none of that kind."""
    conditions = manifest.get("status", {}).get("conditions", [])
    return next((str(item["status"]) for item in conditions if item["type"] == kind), "")


def _documents(manifests: str | Manifest | Iterable[Manifest]) -> Iterator[Manifest]:
    if isinstance(manifests, str):
        yield from (document for document in yaml.safe_load_all(manifests) if document)
    elif isinstance(manifests, dict):
        yield manifests
    else:
        yield from manifests
