"""From Istio's remote secrets to clusters that come, change and go."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from signer.kube.remote_secret import MAX_BYTES
from signer.kube.remote_secrets import MAX_CLUSTERS, RemoteSecrets, watch_secrets
from tests.support.listing import list_into
from tests.support.waiting import give_up

Told = list[tuple[Any, ...]]


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.told: Told = []

    def wanted(self, cluster_id: str, config: Mapping[str, Any]) -> None:
        self.told.append(("wanted", cluster_id, config["v"]))

    def removed(self, cluster_id: str) -> None:
        self.told.append(("removed", cluster_id))

    def broken(self, cluster_id: str, why: str) -> None:
        self.told.append(("broken", cluster_id, why))


class Scene:
    """The secrets, and who listens."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.secrets = RemoteSecrets({"Kubernetes"}, json.loads, self.ear)

    async def news(self) -> Told:
        """What is told of what has been taken since the last time."""
        self.ear.told = []
        await self.secrets.catch_up()
        return self.ear.told


@pytest.fixture
def scene() -> Scene:
    return Scene()


def packed(version: int) -> str:
    return base64.b64encode(json.dumps({"v": version}).encode()).decode()


def secret(name: str, data: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


async def test_come_change_and_go(scene: Scene) -> None:
    """What has not changed is not told again."""
    list_into(scene.secrets, [secret("a", {"east": packed(1), "west": packed(2)})])
    assert await scene.news() == [("wanted", "east", 1), ("wanted", "west", 2)]
    scene.secrets.changed("MODIFIED", secret("a", {"east": packed(1), "west": packed(3)}))
    assert await scene.news() == [("wanted", "west", 3)]
    scene.secrets.changed("ADDED", secret("b", {"north": packed(4)}))
    scene.secrets.changed("MODIFIED", secret("a", {"east": packed(1)}))
    assert await scene.news() == [("removed", "west"), ("wanted", "north", 4)]
    scene.secrets.changed("DELETED", secret("a", {"east": packed(1)}))
    assert await scene.news() == [("removed", "east")]
    list_into(scene.secrets, [])
    assert await scene.news() == [("removed", "north")]
    assert await scene.news() == []


BROKEN: list[tuple[Any, str]] = [
    ("s3cr3t!", "not base64"),
    ("é", "not base64"),
    (None, "empty"),
    ("", "empty"),
    (base64.b64encode(b"s3cr3t").decode(), "no kubeconfig: JSONDecodeError"),
    (base64.b64encode(b"[]").decode(), "no kubeconfig: not a mapping"),
    (base64.b64encode(b" " * (MAX_BYTES + 1)).decode(), f"over {MAX_BYTES} bytes"),
    (base64.b64encode(b" " * (2 * MAX_BYTES)).decode(), f"over {MAX_BYTES} bytes"),
]


@pytest.mark.parametrize(("value", "why"), BROKEN, ids=[str(n) for n in range(len(BROKEN))])
async def test_one_broken_kubeconfig(scene: Scene, value: Any, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """The others go on; it is told once, quotes nothing, and is gone with its secret."""
    list_into(scene.secrets, [secret("a", {"east": value, "west": packed(1)})])
    assert await scene.news() == [("broken", "east", why), ("wanted", "west", 1)]
    list_into(scene.secrets, [secret("a", {"east": value, "west": packed(1)})])
    assert await scene.news() == []
    assert "cluster east" in caplog.text
    assert "s3cr3t" not in caplog.text
    list_into(scene.secrets, [])
    assert sorted(await scene.news()) == [("removed", "east"), ("removed", "west")]


async def test_what_was_fine_stays(scene: Scene) -> None:
    """The earlier kubeconfig counts; the same one again is told, so that the complaint ends."""
    list_into(scene.secrets, [secret("a", {"east": packed(1)})])
    await scene.news()
    scene.secrets.changed("MODIFIED", secret("a", {"east": "?"}))
    assert await scene.news() == [("broken", "east", "not base64; the one before stays in use")]
    scene.secrets.changed("MODIFIED", secret("a", {"east": packed(1)}))
    assert await scene.news() == [("wanted", "east", 1)]
    scene.secrets.changed("MODIFIED", secret("a", {"east": "??"}))
    scene.secrets.changed("MODIFIED", secret("a", {"east": packed(2)}))
    assert await scene.news() == [("wanted", "east", 2)]


async def test_one_id_in_two_secrets(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The first by name counts, whoever came first; the other takes over when that is gone."""
    list_into(scene.secrets, [secret("b", {"east": packed(2)}), secret("a", {"east": packed(1)})])
    assert await scene.news() == [("wanted", "east", 1)]
    (fault,) = scene.secrets.faults
    assert fault == "secret 'b': cluster 'east': secret 'a' names it too, and counts"
    await scene.news()
    assert caplog.text.count(fault) == 1
    scene.secrets.changed("DELETED", secret("a", {}))
    assert await scene.news() == [("wanted", "east", 2)]
    assert scene.secrets.faults == ()


@pytest.mark.parametrize("odd", ["", "Kubernetes", "a\nb", "ü", "x" * 254, "\ud800"], ids=ascii)
async def test_refused_ids(scene: Scene, odd: str) -> None:
    list_into(scene.secrets, [secret("a", {odd: packed(1), "x" * 253: packed(2)})])
    assert await scene.news() == [("wanted", "x" * 253, 2)]
    (fault,) = scene.secrets.faults
    assert fault.isascii()
    assert fault.isprintable()
    assert len(fault) < 300


async def test_too_many(scene: Scene) -> None:
    """The first ones count; the complaints are bounded, too."""
    list_into(scene.secrets, [secret("a", {f"c{n:04}": packed(n) for n in range(MAX_CLUSTERS + 100)})])
    assert await scene.news() == [("wanted", f"c{n:04}", n) for n in range(MAX_CLUSTERS)]
    assert len(scene.secrets.faults) == 21
    assert scene.secrets.faults[-1] == "80 more faults of remote secrets"


@pytest.mark.parametrize("item", [None, {}, {"metadata": None}, {"metadata": {"name": 7}}, secret("a", [])], ids=str)
async def test_malformed_objects(scene: Scene, item: Any) -> None:
    """Nobody dies of them."""
    list_into(scene.secrets, [item, secret("b", {"east": packed(1)})])
    for kind in ("ADDED", "DELETED"):
        scene.secrets.changed(kind, item)
    assert await scene.news() == [("wanted", "east", 1)]


async def test_run_tells_by_itself(scene: Scene) -> None:
    running = asyncio.create_task(scene.secrets.run())
    list_into(scene.secrets, [secret("a", {"east": packed(1)})])
    async with asyncio.timeout(5.0):
        await scene.secrets.settled.wait()
    assert scene.ear.told == [("wanted", "east", 1)]
    await give_up(running)


def test_what_is_watched(scene: Scene) -> None:
    watch = watch_secrets(None, "istio-system", scene.secrets)  # type: ignore[arg-type]
    assert watch._path == "/api/v1/namespaces/istio-system/secrets"
    assert watch._selector == {"labelSelector": "istio/multiCluster=true"}
