"""Which rights a backend needs on the objects that it makes."""

from signer.kube.rights import Right


def requests_rights(group: str, resource: str, namespace: str = "") -> tuple[Right, ...]:
    """What every backend of this family needs of its kind of object.

    Without deletecollection each request is deleted by itself: one more call for each certificate.
    """
    verbs = ("create", "get", "list", "watch", "delete")
    needed = tuple(Right(verb, group, resource, namespace) for verb in verbs)
    return (*needed, Right("deletecollection", group, resource, namespace, needed=False))
