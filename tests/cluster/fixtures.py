"""Fixtures for tests that need a Kubernetes API; `tests/conftest.py` loads them. The cluster starts at first use."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Protocol

import pytest

from tests.cluster import build
from tests.cluster.api import Kube
from tests.cluster.process import Cluster

_CLUSTER_FIXTURES = {"cluster", "new_cluster"}


class NewCluster(Protocol):
    """Starts one more cluster, stopped at the end of the test. The options are those of `Cluster`."""

    def __call__(
        self, directory: Path | None = None, *, cert_manager: bool = False, audit: bool = False, port: int | None = None
    ) -> Cluster: ...


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, where no test's time-out runs: a cold build takes minutes."""
    wanted = any(_CLUSTER_FIXTURES & set(getattr(item, "fixturenames", ())) for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    # The progress message must be seen. If the build fails, the fixtures meet the same error and report it.
    with capture.global_and_fixture_disabled() if capture else nullcontext(), suppress(build.BuildError):
        build.binary()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for the whole session, with cert-manager and an audit log. To pause or stop one: `new_cluster`."""
    with Cluster(tmp_path_factory.mktemp("cluster"), cert_manager=True, audit=True) as running:
        yield running


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[NewCluster]:
    """A function that starts a cluster of the test's own, to pause, stop and kill. Boots in a few seconds."""
    with ExitStack() as stack:

        def start(
            directory: Path | None = None,
            *,
            cert_manager: bool = False,
            audit: bool = False,
            port: int | None = None,
        ) -> Cluster:
            made = Cluster(directory or tmp_path / "cluster", cert_manager=cert_manager, audit=audit, port=port)
            return stack.enter_context(made)

        yield start


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Iterator[Kube]:
    """The administrator of the session's cluster."""
    with Kube.load(cluster.kubeconfig) as client:
        yield client


@pytest.fixture
def namespace(kube: Kube) -> str:
    """The name of a new, empty namespace. It is left behind: nothing in this cluster could delete it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    kube.create_namespace(name)
    return name
