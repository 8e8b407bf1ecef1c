"""Which rights this account has in a cluster, asked of the API server; and the command that gives those it lacks."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from signer.core.spec import Finding, NoAnswer
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi

_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_SECONDS = 5.0
_RBAC = "rbac.authorization.k8s.io"
# That of deploy/manifests, where the API server does not say who we are: SelfSubjectReview came with Kubernetes 1.28.
_ACCOUNT = "{kind: ServiceAccount, name: istio-signer, namespace: istio-system}"
_SHARED = "# The whole role is replaced: add the names of other backends of this type.\n"


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that this account must be allowed to do.

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


async def check_rights(
    api: KubeApi, rights: Sequence[Right], where: str, role: str, *, shared: bool = True
) -> list[Finding]:
    """Ask for each right whether this account has it.

    Args:
        api: The cluster.
        rights: What is needed, in one namespace or in all.
        where: The configuration key, for the findings.
        role: The name of the role that deploy/rbac gives them by, for the command that does so here.
        shared: Whether there may be several in need of that role, such as backends of one type.
    """
    try:
        missing = [right for right in rights if not await _allowed(api, right)]
    except ApiUnavailable as error:
        return [NoAnswer("error", where, f"the API server gives no answer: {error}")]
    if not missing:
        return [Finding("ok", where, f"this account may do all that it takes: {', '.join(map(str, rights))}")]
    level = "error" if any(right.needed for right in missing) else "warning"
    command = grant(role, rights, shared=shared, subject=await _subject(api))
    return [Finding(level, where, f"this account may not {'; '.join(map(str, missing))}", command)]


async def _subject(api: KubeApi) -> str:
    """This account as the subject of a binding, as the API server knows it: in another cluster it is another one."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await api.post(_WHO, body, _SECONDS)
    except ApiUnavailable:
        return _ACCOUNT
    if answer.status not in (200, 201):
        # Its status is a text then.
        return _ACCOUNT
    name = ((answer.body.get("status") or {}).get("userInfo") or {}).get("username")
    if not isinstance(name, str) or not name:
        return _ACCOUNT
    match name.split(":"):
        case ["system", "serviceaccount", namespace, account]:
            given = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        case _:
            given = {"kind": "User", "name": name, "apiGroup": _RBAC}
    return json.dumps(given)


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


def grant(role: str, rights: Sequence[Right], *, shared: bool = True, subject: str = _ACCOUNT) -> str:
    """Give the command that makes a role and its binding, or replaces those that are there, in one namespace or in all.

    ``subject`` is who gets it, in YAML.

    Applied and not created: where some of the rights are missing, the role is there already.
    """
    namespace = rights[0].namespace
    kind, place = ("Role", f", namespace: {namespace}") if namespace else ("ClusterRole", "")
    note = _SHARED if shared and _named(rights) else ""
    head = f"apiVersion: {_RBAC}/v1\nkind: {kind}%s\nmetadata: {{name: {role}{place}}}\n"
    return (
        f"kubectl apply -f - <<'EOF'\n{head % ''}rules:\n{note}{''.join(_rules(rights))}"
        f"---\n{head % 'Binding'}roleRef: {{apiGroup: {_RBAC}, kind: {kind}, name: {role}}}\n"
        f"subjects: [{subject}]\nEOF"
    )


def _named(rights: Iterable[Right]) -> bool:
    return any(right.name for right in rights)


def _rules(rights: Iterable[Right]) -> Iterable[str]:
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource, right.name), []).append(right.verb)
    for (group, resource, name), allowed in verbs.items():
        names = f"resourceNames: {json.dumps([name])}, " if name else ""
        what = f"apiGroups: {json.dumps([group])}, resources: {json.dumps([resource])}"
        yield f"- {{{what}, {names}verbs: {json.dumps(allowed)}}}\n"
