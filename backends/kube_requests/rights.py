"""Which rights a backend has in the cluster, asked of the API server; and the commands that give those it lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

from signer.core.spec import Finding, NoAnswer
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi

_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that a backend must be allowed to do.

    Attributes:
        resource: Its plural, with a subresource after a slash.
        needed: Whether nothing works without it.
        name: Of the one object it is about; empty for all.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    needed: bool = True
    name: str = ""

    def attributes(self) -> dict[str, str]:
        """As an access review's ``resourceAttributes``."""
        resource, _, subresource = self.resource.partition("/")
        given = {"verb": self.verb, "group": self.group, "resource": resource, "subresource": subresource}
        return {**given, "namespace": self.namespace, "name": self.name}

    def __str__(self) -> str:
        of = f".{self.group}" if self.group else ""
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{of}{f' {self.name}' if self.name else ''}{where}"


async def check_rights(api: KubeApi, rights: Sequence[Right], where: str, fix: str) -> list[Finding]:
    """Ask for each right whether this account has it.

    Args:
        api: The cluster.
        rights: What is needed.
        where: The configuration key, for the findings.
        fix: The command that gives all of them.
    """
    try:
        missing = [right for right in rights if not await _allowed(api, right)]
    except ApiUnavailable as error:
        return [NoAnswer("error", where, f"the API server gives no answer: {error}")]
    if not missing:
        return [Finding("ok", where, f"this account may do all that it takes: {', '.join(map(str, rights))}")]
    level = "error" if any(right.needed for right in missing) else "warning"
    return [Finding(level, where, f"this account may not {'; '.join(map(str, missing))}", fix)]


async def _allowed(api: KubeApi, right: Right) -> bool:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right.attributes()},
    }
    answer = await api.post(_REVIEW, body, _SECONDS)
    if answer.status not in (200, 201):
        raise ApiUnavailable(f"HTTP {answer.status} to an access review")
    return bool((answer.body.get("status") or {}).get("allowed"))


def requests_rights(group: str, resource: str, namespace: str = "") -> tuple[Right, ...]:
    """What every backend of this family needs of its kind of object."""
    verbs = ("create", "get", "list", "watch", "delete")
    needed = tuple(Right(verb, group, resource, namespace) for verb in verbs)
    return (*needed, Right("deletecollection", group, resource, namespace, needed=False))
