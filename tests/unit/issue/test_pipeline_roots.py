"""Whose answers carry extra roots: by the cluster of the caller and the namespace of the identity it gets."""

from dataclasses import replace
from pathlib import Path

import pytest

from signer.core.chain import TrustBundle
from signer.core.globs import Globs
from signer.core.identity import SpiffeId
from signer.trust.extras import ExtraRoots, ExtraRule
from tests.corpus.build import IDENTITY
from tests.support.clock import FakeClock
from tests.support.fakes import CALLER
from tests.support.line import Line
from tests.support.pki import make_ca

EXTRA = make_ca("extra")
_ZTUNNEL = SpiffeId.parse("spiffe://cluster.local/ns/istio-system/sa/ztunnel")


async def _line(tmp_path: Path, **conditions: Globs) -> Line:
    (tmp_path / "extra.pem").write_bytes(EXTRA.pem)
    line = Line()
    line.bundle.extras = ExtraRoots([ExtraRule(tmp_path / "extra.pem", **conditions)], FakeClock())
    await line.bundle.extras.load()
    return line


@pytest.mark.parametrize(
    ("conditions", "carries"),
    [
        ({"namespaces": Globs(("payments",))}, True),
        ({"namespaces": Globs(("pay*",)), "clusters": Globs(("Kubernetes",))}, True),
        ({"namespaces": Globs(("billing",))}, False),
        ({"clusters": Globs(("other",))}, False),
    ],
)
async def test_last_element(tmp_path: Path, conditions: dict[str, Globs], carries: bool) -> None:
    """In the last element, with the others, and nowhere else."""
    line = await _line(tmp_path, **conditions)
    leaf, last = await line.issue()
    base = line.bundle.now
    assert last == (base.union(TrustBundle.of([EXTRA.certificate])) if carries else base).pem
    assert leaf.count("BEGIN") == 1


@pytest.mark.parametrize(("namespace", "carries"), [("payments", True), ("istio-system", False)])
async def test_who_acts_for_another(tmp_path: Path, namespace: str, carries: bool) -> None:
    """ztunnel asks for its pods: what counts is whom the certificate is for."""
    line = await _line(tmp_path, namespaces=Globs((namespace,)))
    line.authenticator.caller = replace(CALLER, identity=_ZTUNNEL)
    line.authorizer.granted = IDENTITY
    *_, last = await line.issue(impersonated=str(IDENTITY))
    assert (EXTRA.pem.decode() in last) == carries


async def test_an_extra_root_proves_no_answer(tmp_path: Path) -> None:
    """What a backend returns is verified against the bundle for all, as a federated mesh signs nobody here."""
    line = await _line(tmp_path, namespaces=Globs(("payments",)))
    line.backends[0].ca = EXTRA
    outcome = await line.refused()
    assert outcome.error == "ChainRejected"
