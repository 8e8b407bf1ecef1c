"""The hands of a rotation at real controllers of cert-manager, with the rights of deploy/rbac/rotate-root.yaml."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from backends.cert_manager.rotate import CertManagerRotator
from backends.cert_manager.settings import CertManagerSettings, ConfigMapRef, IssuerRef
from signer.core.chain import pem
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions
from tests.cluster.api import Kube
from tests.kube_backends.scene import make_issuer
from tests.rotation.access import OPERATOR, account
from tests.rotation.scene import CLOCK, begun, prepared

NewRotator = Callable[..., CertManagerRotator]
PLACE = "istio-issuer"
USED, NEXT = "istio", "istio-next"


@pytest.fixture
async def rotator(kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[NewRotator]:
    """A function that makes the hands of an operator, closed at the end."""
    access = account(kube, tmp_path / "kubeconfig", namespace, OPERATOR, "rotate-root")
    made: list[CertManagerRotator] = []

    def make(comes: str = f"Issuer/{NEXT}", kind: str = "Issuer", **more: Any) -> CertManagerRotator:
        options = RotateOptions(issuer=comes, root_file=more.pop("root_file", None))
        keys: dict[str, Any] = {"runtime_config_map": ConfigMapRef(PLACE, namespace), "kubeconfig": access, **more}
        settings = CertManagerSettings(keys.pop("issuer", IssuerRef(USED, kind)), namespace, **keys)
        made.append(CertManagerRotator(settings, BackendContext("cm", CLOCK), options))
        return made[-1]

    yield make
    for hands in made:
        await hands.close()


def named(kube: Kube, namespace: str) -> dict[str, str]:
    """What the ConfigMap says; nothing where there is none."""
    found = [m for m in kube.list_all("v1", "ConfigMap", namespace) if m["metadata"]["name"] == PLACE]
    return found[0].get("data", {}) if found else {}


def write(kube: Kube, namespace: str, **data: str) -> None:
    """Write the ConfigMap, as somebody else."""
    content = {key.replace("_", "-"): value for key, value in data.items()}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": PLACE}, "data": content}, namespace)


@pytest.mark.parametrize("kind", ["Issuer", "ClusterIssuer"])
@pytest.mark.parametrize("there", [False, True])
async def test_each_step_twice(kube: Kube, namespace: str, rotator: NewRotator, kind: str, there: bool) -> None:
    old = make_issuer(kube, namespace, USED, kind).certificate
    new = make_issuer(kube, namespace, NEXT, kind).certificate
    if there:
        write(kube, namespace, issuer_name=USED, issuer_kind=kind, others="kept")
    hands = rotator(f"{kind}/{NEXT}", kind)
    before = named(kube, namespace)
    rotation = await prepared(hands, await begun(hands, "twice", f"{kind}/{NEXT}"))
    assert (rotation.old, rotation.new, named(kube, namespace)) == ((old,), new, before)
    for _ in range(2):
        await hands.discard(rotation)
        assert named(kube, namespace) == before
    for _ in range(2):
        await hands.switch(rotation)
    written = {"issuer-name": NEXT, "issuer-kind": kind, "issuer-group": "cert-manager.io"}
    assert named(kube, namespace) == {**before, **written}
    for _ in range(2):
        await hands.retire(rotation)


async def test_the_issuer_that_the_config_map_names_is_the_old_one(
    kube: Kube, namespace: str, rotator: NewRotator
) -> None:
    make_issuer(kube, namespace, NEXT)
    used = make_issuer(kube, namespace, USED).certificate
    write(kube, namespace, issuer_name=f" {USED}\n")
    hands = rotator(issuer=IssuerRef("long-gone"))
    assert await hands.current() == (used,)
    write(kube, namespace, issuer_name=NEXT)
    with pytest.raises(RotationRefused, match="signs already: there is nothing to rotate"):
        await hands.current()


async def test_without_a_runtime_config_map_the_advice_is_whole(namespace: str, rotator: NewRotator) -> None:
    with pytest.raises(RotationRefused) as refused:
        await rotator(runtime_config_map=None).current()
    for words in ("backends.cm.runtime_config_map", f"namespace: {namespace}", "deploy/rbac/runtime-config-map.yaml"):
        assert words in str(refused.value)


@pytest.mark.parametrize(
    ("comes", "words"),
    [
        ("", "name the issuer that comes: --issuer KIND/NAME"),
        ("Issuer/Not A Name", "write KIND/NAME"),
        ("Issuer/absent", "HTTP 404"),
        ("ClusterIssuer/absent", "HTTP 404"),
        ("AWSPCAIssuer.awspca.cert-manager.io/next", "leads to 0 roots: name a file with its one root with --root"),
    ],
)
async def test_an_issuer_that_cannot_be_taken_is_told_at_start(
    kube: Kube, namespace: str, rotator: NewRotator, comes: str, words: str
) -> None:
    make_issuer(kube, namespace, USED)
    with pytest.raises(RotationRefused, match=words):
        await rotator(comes).current()


async def test_an_issuer_that_is_not_ready_is_told_at_start(kube: Kube, namespace: str, rotator: NewRotator) -> None:
    make_issuer(kube, namespace, USED)
    spec = {"ca": {"secretName": "istio-next-ca"}}
    head = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": NEXT}}
    kube.apply({**head, "spec": spec}, namespace)
    with pytest.raises(RotationRefused, match=f"Issuer {NEXT} is not ready"):
        await rotator().current()


async def test_roots_that_may_not_be_read_come_from_files(
    kube: Kube, namespace: str, rotator: NewRotator, tmp_path: Path
) -> None:
    """Secrets of other names are closed to this account; whoever may read a CA's key need not run this."""
    old = make_issuer(kube, namespace, "hidden").certificate
    new = make_issuer(kube, namespace, "hidden-next").certificate
    comes, used = "Issuer/hidden-next", IssuerRef("hidden")
    with pytest.raises(RotationRefused, match="name a file with its one root with --root"):
        await rotator(comes, issuer=used).current()
    (tmp_path / "next.pem").write_text(pem(new))
    with pytest.raises(RotationRefused, match=r"root of Issuer hidden cannot be read .*backends\.cm\.roots_file"):
        await rotator(comes, issuer=used, root_file=tmp_path / "next.pem").current()
    file = tmp_path / "roots.pem"
    file.write_text(pem(old))
    hands = rotator(comes, issuer=used, root_file=tmp_path / "next.pem", roots_file=file)
    rotation = await prepared(hands, await begun(hands, "files", comes))
    assert (rotation.old, rotation.new) == ((old,), new)
    with pytest.raises(RotationRefused, match="lacks the new root"):
        await hands.switch(rotation)
    assert named(kube, namespace) == {}
    file.write_text(pem(old) + pem(new))
    await hands.switch(rotation)
    with pytest.raises(RotationRefused, match="still holds the old root"):
        await hands.retire(rotation)
    file.write_text(pem(new))
    await hands.retire(rotation)


async def test_a_file_with_another_root_than_the_issuers(
    kube: Kube, namespace: str, rotator: NewRotator, tmp_path: Path
) -> None:
    old = make_issuer(kube, namespace, USED).certificate
    make_issuer(kube, namespace, NEXT)
    (tmp_path / "wrong.pem").write_text(pem(old))
    with pytest.raises(RotationRefused, match="is not under the root"):
        await rotator(root_file=tmp_path / "wrong.pem").current()


@pytest.mark.parametrize("change", [{"issuer_name": USED}, {"issuer_name": NEXT, "issuer_kind": "ClusterIssuer"}])
async def test_the_old_root_stays_where_somebody_has_switched_back(
    kube: Kube, namespace: str, rotator: NewRotator, change: dict[str, str]
) -> None:
    make_issuer(kube, namespace, USED)
    make_issuer(kube, namespace, NEXT)
    hands = rotator()
    rotation = await prepared(hands, await begun(hands, "back", f"Issuer/{NEXT}"))
    await hands.switch(rotation)
    write(kube, namespace, **change)
    with pytest.raises(RotationRefused, match="somebody has changed it"):
        await hands.retire(rotation)
