"""What a cluster of a remote secret leaves behind when it goes: nothing, and nothing of its successor's."""

from contextlib import AsyncExitStack
from typing import cast

from signer.app.one_cluster import ClusterParts
from signer.app.remote_wiring import _built
from signer.config.model import BackendSection, Config
from signer.kube.api import KubeApi
from tests.support.clock import FakeClock
from tests.unit.kube.test_collection import FakeApi


async def test_node_proxies_come_and_go_with_their_cluster() -> None:
    """They count from the take-over on, and the one that is replaced takes nobody's but its own with it."""
    config = Config.model_validate(
        {"backends": {"local": BackendSection()}, "ambient": {"trusted_node_accounts": ["istio-system/ztunnel"]}}
    )
    in_use: dict[str, ClusterParts] = {}
    async with AsyncExitStack() as opened:
        parts = ClusterParts(config, FakeClock(), lambda _: None, lambda: False, opened)
        first, second = (_built("far", cast(KubeApi, FakeApi()), parts, in_use) for _ in range(2))
        assert parts.proxies == {}
        first.take_over()
        of_first = parts.proxies["far"]
        second.take_over()
        assert parts.proxies["far"] is not of_first
        await first.close()
        assert list(parts.proxies) == list(in_use) == ["far"]
        await second.close()
        assert (parts.proxies, in_use) == ({}, {})
