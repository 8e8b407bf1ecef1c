"""Root rotation in a slow world: whatever dies, resuming ends in the same place, and nobody meets a root unknown to it.

``tests.property.rotation_world`` says what the world is made of.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.property.rotation_play import (
    MORE_THAN_ENOUGH,
    SCHEDULES,
    Op,
    Operator,
    expect_peace,
    expect_the_same_end,
    play,
    scenes,
)
from tests.property.rotation_world import Scene, World


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where new roots' keys go."""
    return tmp_path_factory.mktemp("offline")


@settings(max_examples=200)
@given(scenes(), SCHEDULES)
def test_any_schedule(offline: Path, scene: Scene, ops: list[Op]) -> None:
    """Deaths, lags, late namespaces, failovers, restarts, aborts."""
    expect_peace(offline, scene, ops)


SLOW = Scene(4, 9, 20, ((0, 4), (4, 0), (4, 4)), (0, 6), ((9, 20), (8, 20), (1, 20)))
ALONE = replace(SLOW, delays=())
# Each is cut short at every one of its last step's effects, then taken up again.
PATHS: dict[str, list[Op]] = {
    "prepare": [("start", None)],
    "switch": [("start", None), ("wait", 40), ("advance", None)],
    "retire": [("start", None), ("wait", 40), ("advance", None), ("wait", 40), ("advance", None)],
    "abort": [("start", None), ("wait", 10), ("abort", None)],
    "abort of half a start": [("start", 4), ("abort", None)],
}


@pytest.mark.parametrize("scene", [SLOW, ALONE], ids=["cluster", "alone"])
@pytest.mark.parametrize("again", [None, 0, 2], ids="again {}".format)
@pytest.mark.parametrize("path", PATHS)
def test_every_death(offline: Path, path: str, again: int | None, scene: Scene) -> None:
    """At each effect of each step, and once more while it is taken up again; days may lie in between."""
    *before, (last, _) = PATHS[path]
    resumed = "abort" if last == "abort" else "advance"
    for effects in range(MORE_THAN_ENOUGH):
        world = World(scene, offline)
        operator = Operator(world)
        play(world, before, to_the_end=False)
        died = operator.take(last, effects)
        play(world, [("wait", 2), (resumed, again), ("wait", 30)] if died else [])
        expect_the_same_end(world, next(iter(world.replicas[0].bundle)))
        if not died:
            assert effects > 3, "it has more effects than that"
            return
