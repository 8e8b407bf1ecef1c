"""A whole rotation under calls: no answer fails by what its caller knew before, and in the end the old root is gone."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.vault.live import TOKEN_VARIABLE
from signer.core.chain import pem
from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.e2e.workload import Workload
from tests.kube_backends.scene import make_issuer
from tests.rotation.test_vault import operator_token, shown
from tests.rotation.whole import Calls, Whole
from tests.vault.mounts import policy_token, root_mount
from tests.vault.openbao import OpenBao

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def with_vault(kube: Kube, namespace: str, tmp_path: Path, bao: OpenBao) -> Whole:
    """Signed by a mount of OpenBao, which makes the new root itself."""
    mount = f"pki-{uuid.uuid4().hex[:8]}"
    root_mount(bao, mount)
    path = f"{mount}/sign/istio-ca"
    token = policy_token(bao, tmp_path / "token", path)
    auth = {"method": "token", "token_file": str(token)}
    backend = {"type": "vault", "address": bao.address, "sign_path": path, "auth": auth}
    variables = {TOKEN_VARIABLE: operator_token(bao, mount)}
    return Whole(kube, namespace, tmp_path, backend, pem(shown(bao, mount)), variables=variables)


@pytest.fixture
def with_cert_manager(kube: Kube, namespace: str, tmp_path: Path) -> Whole:
    """Signed by an issuer of cert-manager, where the next one is there already."""
    roots = pem(make_issuer(kube, namespace, "istio").certificate)
    make_issuer(kube, namespace, "istio-next")
    backend = {
        "type": "cert-manager",
        "namespace": namespace,
        "issuer": {"name": "istio"},
        "runtime_config_map": {"name": "istio-issuer", "namespace": namespace},
    }
    return Whole(kube, namespace, tmp_path, backend, roots, ("cert-manager", "runtime-config-map"))


FLAGS: dict[str, tuple[str, ...]] = {"with_vault": (), "with_cert_manager": ("--issuer", "Issuer/istio-next")}


def steps(whole: Whole, calls: Calls, flags: tuple[str, ...]) -> None:
    """From the first to the last, some answers after each."""

    def answers(count: int = 3) -> None:
        goal = len(calls.roots) + count
        until(lambda: calls.fault or len(calls.roots) >= goal, deadline=60, what="more answers")

    answers()
    assert whole.phase("start", *flags) == "trusting"
    early = whole.rotate("advance")
    assert early.code != 0
    assert "too early" in early.err
    answers()
    assert whole.phase("advance", "--wait") == "signing"
    answers()
    assert whole.phase("advance", "--wait") == "done"
    answers()


@pytest.mark.parametrize("kind", FLAGS)
def test_a_whole_rotation(kind: str, request: pytest.FixtureRequest, kube: Kube, tmp_path: Path) -> None:
    whole: Whole = request.getfixturevalue(kind)
    old = whole.roots
    with whole.signer() as signer:
        workload = Workload.create(kube, whole.app, "app", tmp_path)
        until(lambda: whole.held() == old, deadline=15, what="the old root in the namespace")
        with Calls(signer, workload) as calls:
            steps(whole, calls, FLAGS[kind])
            gone: Callable[[], object] = lambda: calls.fault or old not in calls.roots[-1]  # noqa: E731
            until(gone, deadline=20, what="the old root to go from the answers")
        if calls.fault is not None:
            raise signer.error(str(calls.fault))
        new = calls.roots[-1]
        until(lambda: whole.held() == new, deadline=15, what="the old root to go from the namespace")
    assert (new.count("BEGIN"), old in new) == (1, False)
    assert whole.phase("status") == "done"
