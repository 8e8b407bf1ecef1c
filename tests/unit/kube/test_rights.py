"""The commands that give rights: what deploy/rbac gives, no more and no less."""

import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from backends.kube_requests.rights import requests_rights
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.rights import Right, check_rights, grant
from signer.trust.rights import (
    DISTRIBUTION_ROLE,
    ISTIOD_ROLE,
    istiod_rights,
    lease_rights,
    record_rights,
    roots_rights,
)

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "rbac"
GROUP, PLURAL = "certificates.k8s.io", "certificatesigningrequests"
RIGHTS: dict[str, list[Right]] = {
    "cert-manager": [*requests_rights("cert-manager.io", "certificaterequests", "istio-system")],
    "runtime-config-map": [
        Right(verb, "", "configmaps", "istio-system", name="istio-issuer") for verb in ("list", "watch")
    ],
    "kubernetes-csr": [
        *requests_rights(GROUP, PLURAL),
        Right("update", GROUP, f"{PLURAL}/approval"),
        Right("approve", GROUP, "signers", name="clusterissuers.cert-manager.io/istio-ca"),
    ],
    "pod-labels": [Right("get", "", "pods")],
    "offline-tokens": [
        Right(verb, "", kind) for kind in ("pods", "serviceaccounts") for verb in ("get", "list", "watch")
    ],
    "remote-secrets": [Right(verb, "", "secrets", "istio-system") for verb in ("list", "watch")],
    "ambient": [Right(verb, "", "pods") for verb in ("get", "list", "watch")],
}


def objects(text: str) -> list[dict[str, Any]]:
    """A role and its binding, without labels."""
    found = [*yaml.safe_load_all(text)]
    for item in found:
        item["metadata"].pop("labels", None)
    return found


def _named(user: str) -> Answer:
    return Answer(201, {"status": {"userInfo": {"username": user}}})


HOME = "istio-system"
MEMORY = [*lease_rights(HOME, "istio-signer"), *record_rights(HOME, "istio-signer-trust")]
# Of the leader's duties: (role, rights) for each role and its binding, in the manifest's order.
DUTIES: dict[str, list[tuple[str, list[Right]]]] = {
    "distribution": [(DISTRIBUTION_ROLE, roots_rights("istio-ca-root-cert", False)), (DISTRIBUTION_ROLE, MEMORY)],
    "istiod-certificate": [(ISTIOD_ROLE, istiod_rights(HOME, "istiod-tls"))],
}


def commanded(role: str, rights: list[Right], *, shared: bool) -> list[dict[str, Any]]:
    """What the command for these rights makes."""
    command = grant(role, rights, shared=shared)
    return objects(command.removeprefix("kubectl apply -f - <<'EOF'\n").removesuffix("\nEOF"))


def test_every_manifest_has_a_case() -> None:
    # Those of the operator are another account's; tests/rotation acts with exactly what they give.
    assert {path.stem for path in FOLDER.iterdir()} == RIGHTS.keys() | DUTIES.keys() | {"rotate-root"}


@pytest.mark.parametrize("name", RIGHTS)
def test_command_and_manifest_give_the_same(name: str) -> None:
    """A role of another name would stay behind, and its rights with it."""
    expected = objects((FOLDER / f"{name}.yaml").read_text())
    assert commanded(f"istio-signer-{name}", RIGHTS[name], shared=True) == expected


@pytest.mark.parametrize("name", DUTIES)
def test_duties_need_what_their_manifest_gives(name: str) -> None:
    made = [item for role, rights in DUTIES[name] for item in commanded(role, rights, shared=False)]
    assert made == objects((FOLDER / f"{name}.yaml").read_text())


def test_the_rules_that_wait_as_comments_are_those_of_the_cluster_trust_bundle() -> None:
    text = (FOLDER / "distribution.yaml").read_text()
    switched_on = re.sub(r"^  # (- apiGroups|  resources|  resourceNames|  verbs)", r"  \1", text, flags=re.MULTILINE)
    assert switched_on != text
    role = commanded(DISTRIBUTION_ROLE, roots_rights("istio-ca-root-cert", True), shared=False)
    assert role == objects(switched_on)[:2]


def test_only_roles_that_backends_share_come_with_a_warning() -> None:
    right = [Right("get", "", "secrets", HOME, name="one")]
    assert "of other backends" in grant("r", right)
    assert "of other backends" not in grant("r", right, shared=False)


OURS = {"kind": "ServiceAccount", "name": "istio-signer", "namespace": "istio-system"}
WHO: dict[str, tuple[Answer | ApiUnavailable, dict[str, str]]] = {
    "an account": (_named("system:serviceaccount:mesh:far"), {**OURS, "name": "far", "namespace": "mesh"}),
    "a user": (_named("far"), {"kind": "User", "name": "far", "apiGroup": "rbac.authorization.k8s.io"}),
    "a name that is YAML": (
        _named("a}\nEOF"),
        {"kind": "User", "name": "a}\nEOF", "apiGroup": "rbac.authorization.k8s.io"},
    ),
    "an older server": (Answer(404, {}), OURS),
    "no right": (Answer(403, {"kind": "Status", "status": "Failure"}), OURS),
    "no name": (_named(""), OURS),
    "no answer": (ApiUnavailable("down"), OURS),
}


class Api:
    """Allows nothing, and says who asks."""

    def __init__(self, who: Answer | ApiUnavailable) -> None:
        self.who = who

    async def post(self, path: str, body: dict[str, Any], timeout: float) -> Answer:
        """Answer."""
        if body["kind"] == "SelfSubjectAccessReview":
            return Answer(201, {"status": {"allowed": False}})
        if isinstance(self.who, ApiUnavailable):
            raise self.who
        return self.who


@pytest.mark.parametrize(("who", "subject"), WHO.values(), ids=WHO)
async def test_the_command_gives_rights_to_who_asked(who: Answer | ApiUnavailable, subject: dict[str, str]) -> None:
    """In another cluster the signer is another account."""
    (found,) = await check_rights(cast(KubeApi, Api(who)), [Right("get", "", "pods")], "clusters.1", "r")
    *_, binding = objects(found.fix.removeprefix("kubectl apply -f - <<'EOF'\n").removesuffix("\nEOF"))
    assert binding["subjects"] == [subject]
    assert found.fix.count("\nEOF") == 1
