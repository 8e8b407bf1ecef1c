"""Each remote cluster has a life of its own: it comes, changes, breaks and goes, and no other one notices."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from signer.app.live_cluster import CLOSE_SECONDS
from signer.app.remote_cluster import BUILD_SECONDS
from signer.app.remote_clusters import BuiltCluster, RemoteClusters
from signer.authn.clusters import ByCluster
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from signer.kube.answer import ApiUnavailable
from signer.kube.no_cluster import NoCluster
from tests.support.fakes import FakeAuthenticator, credentials
from tests.support.virtual_time import run
from tests.support.waiting import give_up, settle

HOUR = 3600.0


class Api:
    """A connection that notes its end."""

    def __init__(self, scene: "Scene", label: str) -> None:
        self.scene, self.label = scene, label

    async def close(self) -> None:
        self.scene.events.append(f"api {self.label} closed")


class Scene:
    """Remote clusters on fakes; configs are ``{"v": label}``."""

    def __init__(self) -> None:
        self.clusters = ByCluster("Kubernetes", {"Kubernetes": FakeAuthenticator()})
        self.remotes = RemoteClusters(self.clusters, self.build, self.connect)  # type: ignore[arg-type]
        self.events: list[str] = []
        self.faults: dict[str, list[BaseException]] = {}
        self.attempts: list[float] = []
        self.named: list[str] = []
        self.held: set[str] = set()
        self.noted = False
        self.work: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def connect(self, config: Mapping[str, Any], name: str) -> Api:
        label = config["v"]
        self.named.append(name)
        self.attempts.append(asyncio.get_running_loop().time())
        if label in self.held:
            await asyncio.sleep(HOUR)
        if self.faults.get(label):
            raise self.faults[label].pop(0)
        return Api(self, label)

    async def build(self, cluster_id: str, api: Api) -> BuiltCluster:
        if self.faults.get(f"build {api.label}"):
            raise self.faults[f"build {api.label}"].pop(0)

        async def close() -> None:
            self.events.append(f"{api.label} closed, judged by {await self.judged(cluster_id)}")
            if f"close {api.label}" in self.held:
                await asyncio.sleep(HOUR)

        authenticator = FakeAuthenticator()
        authenticator.label = api.label  # type: ignore[attr-defined]
        ready, take_over = partial(self.ready, api.label), partial(self.events.append, f"{api.label} takes over")
        return BuiltCluster(authenticator, self.work, close, ready, take_over if self.noted else lambda: None)

    async def ready(self, label: str) -> None:
        if self.faults.get(f"ready {label}"):
            raise self.faults[f"ready {label}"].pop(0)

    async def judged(self, cluster: str) -> str:
        """Whose judge it is, or what is said instead."""
        try:
            await self.clusters.authenticate(credentials(cluster=cluster))
        except AuthenticationFailed:
            return "nobody"
        except AuthenticationUnavailable as error:
            return error.reason
        return str(self.clusters._changing[cluster]._inner.label)  # type: ignore[attr-defined]

    def notes(self) -> list[tuple[bool, str]]:
        return [(note.well, note.text) for note in self.remotes.notes()]


def on_virtual_time(body: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    """Play a scene, and close it."""

    async def main() -> None:
        scene = Scene()
        running = asyncio.create_task(scene.remotes.run())
        await settle()
        await body(scene)
        await give_up(running)
        assert scene.notes() == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


def test_comes_changes_and_goes() -> None:
    async def body(scene: Scene) -> None:
        scene.remotes.wanted("east", {"v": "one"})
        assert "it is being connected" in await scene.judged("east")
        await settle()
        assert await scene.judged("east") == "one"
        assert scene.notes() == [(True, "cluster east: connected")]
        scene.remotes.wanted("east", {"v": "two"})
        assert await scene.judged("east") == "one"
        await settle()
        assert await scene.judged("east") == "two"
        assert scene.events == ["one closed, judged by two", "api one closed"]
        scene.remotes.removed("east")
        assert await scene.judged("east") == "nobody"
        await settle()
        assert scene.events[2:] == ["two closed, judged by nobody", "api two closed"]
        scene.remotes.removed("east")

    on_virtual_time(body)


def test_a_failing_connection_is_tried_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        scene.faults["bad"] = [NoCluster("users.0.user.exec: no"), *[ApiUnavailable("no connection")] * 9]
        scene.remotes.wanted("east", {"v": "bad"})
        scene.remotes.wanted("west", {"v": "good"})
        await settle()
        assert await scene.judged("west") == "good"
        assert scene.named == ["east", "west"], "so that the log says where"
        assert await scene.judged("east") == "cluster 'east' cannot be asked: users.0.user.exec: no"
        assert scene.notes()[0] == (False, "cluster east: not connected; users.0.user.exec: no")
        await asyncio.sleep(HOUR)
        assert await scene.judged("east") == "bad"
        times = scene.attempts[0], *scene.attempts[2:]
        pauses = [after - before for before, after in pairwise(times)]
        assert len(pauses) == 10
        assert all(0.5 <= pause <= 30.0 for pause in pauses)
        assert pauses[0] <= 1.0 < 15.0 <= min(pauses[6:])

    on_virtual_time(body)
    assert caplog.text.count("no connection") == 1


def test_a_bug_shows_its_frames_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        scene.faults["build one"] = [KeyError("s3cr3t")]
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        assert "bug in connecting: KeyError" in await scene.judged("east")
        assert scene.events == ["api one closed"]
        await asyncio.sleep(1.0)
        assert await scene.judged("east") == "one"

    on_virtual_time(body)
    assert "bug in connecting: KeyError\n  File" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_what_works_stays_while_its_successor_fails() -> None:
    async def body(scene: Scene) -> None:
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        scene.faults["two"] = [NoCluster("unusable")]
        scene.remotes.wanted("east", {"v": "two"})
        await settle()
        assert await scene.judged("east") == "one"
        assert scene.notes() == [(False, "cluster east: connected; unusable")]
        await asyncio.sleep(1.0)
        assert await scene.judged("east") == "two"

    on_virtual_time(body)


def test_what_works_stays_until_its_successor_can_judge() -> None:
    """A kubeconfig that connects to nobody is as good as none."""

    async def body(scene: Scene) -> None:
        scene.noted = True
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        scene.faults["ready two"] = [ApiUnavailable("no connection")]
        scene.remotes.wanted("east", {"v": "two"})
        await settle()
        assert await scene.judged("east") == "one"
        assert scene.notes() == [(False, "cluster east: connected; no connection")]
        assert scene.events == ["one takes over"]
        await asyncio.sleep(1.0)
        assert await scene.judged("east") == "two"
        assert scene.events == ["one takes over", "two takes over", "one closed, judged by two", "api one closed"]
        assert scene.notes() == [(True, "cluster east: connected")]

    on_virtual_time(body)


def test_a_successor_that_never_judged_is_closed_and_nothing_else() -> None:
    async def body(scene: Scene) -> None:
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        scene.faults["ready two"] = [ApiUnavailable("no connection")] * 100
        scene.remotes.wanted("east", {"v": "two"})
        await asyncio.sleep(60.0)
        scene.remotes.wanted("east", {"v": "three"})
        await settle()
        assert await scene.judged("east") == "three"
        assert [event.split(",")[0] for event in scene.events] == [
            "two closed",
            "api two closed",
            "one closed",
            "api one closed",
        ]

    on_virtual_time(body)


def test_the_first_one_judges_at_once() -> None:
    """There is nothing to lose: it is in place, and the report shows that it does not answer yet."""

    async def body(scene: Scene) -> None:
        scene.faults["ready one"] = [ApiUnavailable("no connection")]
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        assert await scene.judged("east") == "one"
        assert scene.notes() == [(False, "cluster east: not connected; no connection")]
        await asyncio.sleep(1.0)
        assert scene.notes() == [(True, "cluster east: connected")]
        scene.faults["ready two"] = [ApiUnavailable("no connection")] * 100
        scene.remotes.removed("east")
        scene.remotes.wanted("east", {"v": "two"})
        await settle()
        scene.remotes.removed("east")
        await settle()
        assert scene.events.count("api two closed") == 1

    on_virtual_time(body)


def test_a_newer_kubeconfig_ends_the_wait_for_an_older_one() -> None:
    async def body(scene: Scene) -> None:
        scene.held.add("slow")
        scene.remotes.wanted("east", {"v": "slow"})
        await settle()
        scene.remotes.wanted("east", {"v": "fast"})
        await settle()
        assert await scene.judged("east") == "fast"
        scene.remotes.wanted("east", {"v": "slow"})
        await asyncio.sleep(BUILD_SECONDS + 0.1)
        assert scene.notes() == [(False, f"cluster east: connected; not ready within {BUILD_SECONDS:g} s")]
        scene.remotes.removed("east")
        await settle()
        assert await scene.judged("east") == "nobody"

    on_virtual_time(body)


def test_a_broken_secret() -> None:
    """Callers are told to try again where nothing works; else only the health report tells."""

    async def body(scene: Scene) -> None:
        scene.remotes.broken("east", "not base64")
        assert await scene.judged("east") == "cluster 'east' cannot be asked: not base64"
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        scene.remotes.broken("east", "empty")
        assert await scene.judged("east") == "one"
        assert scene.notes() == [(False, "cluster east: connected; empty")]
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        assert scene.notes() == [(True, "cluster east: connected")]

    on_virtual_time(body)


def test_background_work_is_begun_again_and_ends_with_its_cluster(caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        begun: list[float] = []

        bug = KeyError("s3cr3t")

        async def fail() -> None:
            raise bug

        async def work() -> None:
            begun.append(asyncio.get_running_loop().time())
            if len(begun) == 1:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
            if len(begun) > 2:
                await asyncio.Event().wait()

        scene.work = work
        scene.remotes.wanted("east", {"v": "one"})
        await asyncio.sleep(60.0)
        assert len(begun) == 3

    on_virtual_time(body)
    assert "bug in its background work: KeyError\n  File" in caplog.text
    assert "has ended by itself" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_what_does_not_close_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        scene.held.add("close one")
        scene.remotes.wanted("east", {"v": "one"})
        await settle()
        begun = asyncio.get_running_loop().time()
        await scene.remotes.close()
        assert asyncio.get_running_loop().time() - begun == pytest.approx(CLOSE_SECONDS)
        assert scene.events[-1] == "api one closed"
        scene.remotes.wanted("west", {"v": "late"})
        scene.remotes.broken("west", "late")
        assert await scene.judged("west") == "nobody"

    on_virtual_time(body)
    assert "not closed within 3 s" in caplog.text
