"""Waiting for what a watch will tell: who is woken, who is not, and that nothing is left of them."""

import asyncio

import pytest

from signer.kube.waiting import Waiters
from tests.support.waiting import give_up, settle


class Scene:
    """Waiters, what there is to be found, and how often it was looked for."""

    def __init__(self) -> None:
        self.waiters = Waiters()
        self.there: dict[str, str] = {}
        self.looks: list[str] = []

    def begin(self, key: str, seconds: float = 60.0) -> "asyncio.Task[str | None]":
        return asyncio.create_task(self.waiters.until(key, lambda: self.look(key), seconds))

    def look(self, key: str) -> str | None:
        self.looks.append(key)
        return self.there.get(key)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_what_is_there_is_not_waited_for(scene: Scene) -> None:
    """Even where there is no time."""
    scene.there["a"] = "A"
    assert await scene.begin("a", 0.0) == "A"
    assert scene.waiters._of == {}


async def test_only_whose_key_is_woken_looks_again(scene: Scene) -> None:
    """Many wait, and each look costs."""
    a, other, b = scene.begin("a"), scene.begin("a"), scene.begin("b")
    await settle()
    scene.there = {"a": "A", "b": "B"}
    scene.waiters.wake("nobody's", "a")
    assert list(await asyncio.gather(a, other)) == ["A", "A"]
    assert (b.done(), scene.looks.count("b")) == (False, 1)
    scene.waiters.wake_all()
    assert await b == "B"
    assert scene.waiters._of == {}


async def test_woken_for_nothing_it_waits_on(scene: Scene) -> None:
    """Something else of that key has changed."""
    a = scene.begin("a")
    for _ in range(3):
        await settle()
        scene.waiters.wake("a")
    await settle()
    assert (a.done(), len(scene.looks)) == (False, 4)
    scene.there["a"] = "A"
    scene.waiters.wake("a")
    assert await a == "A"


async def test_who_is_late_or_gives_up_leaves_nothing(scene: Scene) -> None:
    """And is no hindrance to who stays."""
    late, gone, stays = scene.begin("a", 0.01), scene.begin("a"), scene.begin("a")
    assert await late is None
    await give_up(gone)
    scene.there["a"] = "A"
    scene.waiters.wake("a")
    assert await stays == "A"
    assert scene.waiters._of == {}
