"""One server for tests that do it no harm; those that seal or kill start one of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.vault.mounts import intermediate_mount, root_mount
from tests.vault.openbao import OpenBao


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """With a root mount `pki` and an intermediate mount `pki_int`, both with a role `istio-ca`."""
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        root_mount(server)
        intermediate_mount(server)
        yield server


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[[], OpenBao]]:
    """A function that starts a server of the test's own, with a root mount `pki`."""
    with ExitStack() as stack:

        def start() -> OpenBao:
            server = stack.enter_context(OpenBao(tmp_path / "openbao"))
            root_mount(server)
            return server

        yield start
