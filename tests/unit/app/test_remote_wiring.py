"""What a cluster of a remote secret leaves behind when it goes: nothing, and nothing of its successor's."""

import asyncio
from contextlib import AsyncExitStack
from typing import cast

import pytest

from signer.app import remote_wiring
from signer.app.one_cluster import ClusterParts
from signer.app.remote_wiring import _built, _ready
from signer.config.clusters import Cluster
from signer.config.model import BackendSection, Config
from signer.kube.answer import Answer, ApiUnavailable
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


async def _waits(own: ClusterParts, before: ClusterParts | None) -> bool:
    """Whether a connection is not ready yet, however well its tokens can be reviewed."""
    try:
        await _ready(Cluster(id="far"), cast(KubeApi, Reviewing()), own, before)
    except ApiUnavailable:
        return True
    return False


class Reviewing:
    """An API server that reviews tokens and shows nothing else."""

    async def post(self, path: str, body: object, timeout: float) -> Answer:
        """Say no to nobody's."""
        return Answer(201, {})


async def test_what_the_one_before_did_not_know_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that may not see pods may not by its next token either, and the token before it ends."""
    monkeypatch.setattr(remote_wiring, "READY_SECONDS", 0.01)
    config = Config.model_validate({"backends": {"local": BackendSection()}})
    async with AsyncExitStack() as opened:
        old, new = (ClusterParts(config, FakeClock(), lambda _: None, lambda: False, opened) for _ in range(2))
        for parts in (old, new):
            parts.synced += [asyncio.Event(), asyncio.Event()]
        assert await _waits(new, None)
        assert not await _waits(new, old)
        old.synced[1].set()
        assert await _waits(new, old), "what was known must not be lost"
        new.synced[1].set()
        assert not await _waits(new, old)
