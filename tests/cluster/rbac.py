"""Permissions for a service account, and a kubeconfig that has no others: tests run the product with least rights."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.cluster.api import Kube
from tests.cluster.client import Manifest
from tests.cluster.poll import until

GROUP = "rbac.authorization.k8s.io"
CREATE_TOKEN_REVIEWS: Manifest = {
    "apiGroups": ["authentication.k8s.io"],
    "resources": ["tokenreviews"],
    "verbs": ["create"],
}
"""The one permission that checking a token takes."""

GRANT_LIMIT = 10.0
"""Seconds for the authorizer, which reads from a cache, to see a new binding. It takes milliseconds."""


def account_kubeconfig(
    kube: Kube, path: Path, namespace: str, service_account: str, rules: Sequence[Manifest] = (CREATE_TOKEN_REVIEWS,)
) -> Path:
    """Make a namespace and a service account with these permissions only, and write a kubeconfig to act as it.

    Raises:
        ApiError: the server refused one of the objects.
        TimeoutError: the permissions did not come into force within `GRANT_LIMIT` seconds.
    """
    kube.create_namespace(namespace)
    kube.create_service_account(namespace, service_account)
    grant(kube, namespace, service_account, rules)
    return kube.write_kubeconfig(path, namespace, service_account)


def grant(
    kube: Kube, namespace: str, service_account: str, rules: Sequence[Manifest], *, cluster_wide: bool = True
) -> None:
    """Give a service account exactly these permissions, in all namespaces or in its own, and wait until they count.

    A second call replaces the rules of the first of the same extent. Errors: see `account_kubeconfig`.
    """
    kube.apply(_role_and_binding(namespace, service_account, rules, "Cluster" if cluster_wide else ""))
    for attributes in _questions(rules, "" if cluster_wide else namespace):
        until(
            partial(allowed, kube, namespace, service_account, attributes),
            deadline=GRANT_LIMIT,
            what=f"{namespace}/{service_account} to be allowed {attributes}",
        )


def allowed(kube: Kube, namespace: str, service_account: str, attributes: Manifest) -> bool:
    """Whether a service account may do what `attributes` (the `resourceAttributes` of an access review) say."""
    api_version, kind = "authorization.k8s.io/v1", "SubjectAccessReview"
    user = f"system:serviceaccount:{namespace}:{service_account}"
    spec = {"user": user, "resourceAttributes": attributes}
    review = {"apiVersion": api_version, "kind": kind, "spec": spec}
    return bool(kube.call("POST", kube.path(api_version, kind), review)["status"]["allowed"])


def _role_and_binding(
    namespace: str, service_account: str, rules: Sequence[Manifest], extent: str
) -> Iterator[Manifest]:
    metadata = {"name": f"{namespace}-{service_account}", **({} if extent else {"namespace": namespace})}
    head: Manifest = {"apiVersion": f"{GROUP}/v1", "metadata": metadata}
    yield {**head, "kind": f"{extent}Role", "rules": [*rules]}
    yield {
        **head,
        "kind": f"{extent}RoleBinding",
        "roleRef": {"apiGroup": GROUP, "kind": f"{extent}Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": namespace}],
    }


def _questions(rules: Sequence[Manifest], namespace: str) -> Iterator[Manifest]:
    """One thing that each rule allows: rules of one role come into force together."""
    for rule in rules:
        if "resources" in rule:
            resource, _, subresource = rule["resources"][0].partition("/")
            yield {
                "verb": rule["verbs"][0],
                "group": rule["apiGroups"][0],
                "resource": resource,
                "subresource": subresource,
                "name": next(iter(rule.get("resourceNames", [])), ""),
                "namespace": namespace,
            }
