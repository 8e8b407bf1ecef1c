"""For all tests: no task is left behind, and generated cases are the same on every run."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from tests.support.sockets import sockets_closed

pytest_plugins = ["tests.cluster.fixtures"] if importlib.util.find_spec("tests.cluster.fixtures") else []

settings.register_profile(
    "istio-signer",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=150,
    # Keys and certificates are slow to make, on a busy machine slow enough to look like a fault.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("istio-signer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Watch the tasks of tests that have an event loop; others must not get one."""
    for item in items:
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_tasks_left")


@pytest_asyncio.fixture
async def no_tasks_left() -> AsyncIterator[None]:
    """Fail a test that leaves tasks behind: what nobody waits for fails unseen."""
    yield
    await sockets_closed()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {sorted(task.get_name() for task in left)}"
