"""One OpenBao for the tests of this folder; each makes mounts of its own."""

from collections.abc import Iterator

import pytest

from tests.vault.openbao import OpenBao


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """An empty server."""
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        yield server
