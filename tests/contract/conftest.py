"""Fixtures that far sides ask for by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vault.openbao import OpenBao


@pytest.fixture
def openbao(tmp_path: Path) -> Iterator[OpenBao]:
    """A server that is not started yet; ended with the test."""
    server = OpenBao(tmp_path / "openbao")
    yield server
    server.kill()
