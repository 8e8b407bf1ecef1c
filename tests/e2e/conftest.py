"""Signers against the session's cluster, each with the least rights it can work with."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.cluster.api import Kube
from tests.cluster.rbac import account_kubeconfig
from tests.e2e.ca import CaFiles, make_ca
from tests.e2e.process import SignerProcess
from tests.e2e.settings import write_settings
from tests.e2e.workload import Workload


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA that `istio-signer init` has made."""

    directory: Path
    files: CaFiles

    @property
    def roots(self) -> Path:
        """The file with its root."""
        return self.directory / "root-cert.pem"


class StartSigner(Protocol):
    """Starts a signer that ends with the test; sections of the configuration are given by name."""

    def __call__(
        self,
        name: str = "signer",
        *,
        ca: Path | None = None,
        kubeconfig: Path | None = None,
        roots: Path | None = None,
        **sections: Any,
    ) -> SignerProcess: ...


class NewWorkload(Protocol):
    """Makes a workload in the test's namespace."""

    def __call__(self, account: str = "app") -> Workload: ...


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    """A CA that no test changes."""
    directory = tmp_path_factory.mktemp("ca") / "cacerts"
    return Ca(directory, make_ca(directory))


@pytest.fixture(scope="session")
def kubeconfig(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Access to the session's cluster that allows one thing: to create TokenReviews."""
    return account_kubeconfig(kube, tmp_path_factory.mktemp("access") / "kubeconfig", "e2e-signer", "istio-signer")


@pytest.fixture(scope="session")
def signer(ca: Ca, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignerProcess]:
    """A signer of the defaults, for tests that only send requests."""
    folder = tmp_path_factory.mktemp("signer")
    config = write_settings(folder, ca.directory, kubeconfig, {})
    with SignerProcess(folder, ["--config", config], ca.roots) as running:
        yield running


@pytest.fixture
def start_signer(ca: Ca, kubeconfig: Path, tmp_path: Path) -> Iterator[StartSigner]:
    """A function that starts signers of the test's own; without other words, with the session's CA and cluster."""
    shared, access = ca, kubeconfig
    with ExitStack() as stack:

        def start(
            name: str = "signer",
            *,
            ca: Path | None = None,
            kubeconfig: Path | None = None,
            roots: Path | None = None,
            **sections: Any,
        ) -> SignerProcess:
            folder = tmp_path / name
            config = write_settings(folder, ca or shared.directory, kubeconfig or access, sections)
            return stack.enter_context(SignerProcess(folder, ["--config", config], roots or shared.roots))

        yield start


@pytest.fixture
def new_workload(kube: Kube, namespace: str, tmp_path: Path) -> NewWorkload:
    """A function that makes workloads in the session's cluster."""
    return lambda account="app": Workload.create(kube, namespace, account, tmp_path)
