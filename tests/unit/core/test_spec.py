"""What every backend is given beside its settings."""

from pathlib import Path

import pytest

from signer.core.spec import BackendContext
from tests.support.clock import FakeClock

LOCAL, OWN = Path("/local"), Path("/own")


@pytest.mark.parametrize(
    ("given", "used"),
    [((None, None), (LOCAL, "here")), ((OWN, None), (OWN, None)), ((OWN, "there"), (OWN, "there"))],
    ids=["local", "own", "own with a context"],
)
def test_the_cluster_of_a_backend(given: tuple[Path | None, str | None], used: tuple[Path, str | None]) -> None:
    """Never one's file with the other's context."""
    context = BackendContext("b", FakeClock(), kubeconfig=LOCAL, kube_context="here")
    assert context.cluster(*given) == used
