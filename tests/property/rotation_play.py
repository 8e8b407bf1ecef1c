"""Schedules of a root rotation: what an operator does, what must come of it, and what must be there in the end."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from backends.local.files import CACERTS
from signer.core.chain import fingerprint
from signer.core.parsing import parse_certificates
from signer.core.rotation import ABORTABLE, Phase, Rotation, WrongPhase
from signer.trust.rotation.steps import GateClosed
from tests.property.rotation_hands import Died, done_at_once
from tests.property.rotation_world import Scene, World, vars_of_cacerts

# Phase -> where ``advance`` leads. The gates are asked in the two that wait.
ADVANCED = {
    Phase.PREPARING: Phase.TRUSTING,
    Phase.TRUSTING: Phase.SIGNING,
    Phase.SWITCHING: Phase.SIGNING,
    Phase.SIGNING: Phase.DONE,
    Phase.RETIRING: Phase.DONE,
    Phase.ABORTING: Phase.ABORTED,
}
Op = tuple[str, int | None]
MORE_THAN_ENOUGH = 400
# A root that was given up in the same minute as the next rotation began stays for an hour.
UNTIL_ALL_IS_QUIET = 70


class Operator:
    """Takes steps, and knows beforehand what must come of each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.steps: dict[str, Callable[[], Coroutine[Any, Any, Rotation]]] = {
            "start": lambda: world.steps.start("local"),
            "advance": world.steps.advance,
            "abort": world.steps.abort,
        }

    def expected(self, step: str) -> Phase | type[Exception]:
        """What the documentation says."""
        rotation = self.world.rotation
        if step == "start":
            return Phase.TRUSTING if rotation is None or rotation.over else WrongPhase
        if rotation is None or rotation.over:
            return WrongPhase
        if step == "abort":
            return Phase.ABORTED if rotation.phase in ABORTABLE else WrongPhase
        return ADVANCED[rotation.phase] if self._may_go_on(rotation) else GateClosed

    def _may_go_on(self, rotation: Rotation) -> bool:
        world, waits, now = self.world, self.world.scene.waits, self.world.clock.now()
        if rotation.phase is Phase.SIGNING:
            return now >= rotation.since + waits.settle + waits.longest_life
        if rotation.phase is not Phase.TRUSTING:
            return True
        assert rotation.new is not None
        mark, carried = fingerprint(rotation.new), rotation.since + waits.settle
        if waits.distributed:
            everywhere = world.store.history.now.roots[mark].everywhere
            if everywhere is None or world.lacking(mark):
                return False
            carried = max(carried, everywhere)
        return now >= carried + waits.client_interval

    def take(self, step: str, effects: int | None = None) -> bool:
        """Take a step that dies after so many effects; tell whether it did."""
        world = self.world
        before, wanted = world.rotation, self.expected(step)
        world.fate.arm(effects)
        try:
            got: object = done_at_once(self.steps[step]()).phase
        except (WrongPhase, GateClosed) as error:
            got = type(error)
        except Died:
            got = Died
        world.fate.arm(None)
        assert got in (wanted, Died), f"{step} in {before and before.phase}: {got}, not {wanted}"
        if isinstance(wanted, type):
            assert world.rotation == before
        world.check()
        return got is Died

    def finish(self) -> None:
        """Go on until it is over and everybody has noticed."""
        for _ in range(MORE_THAN_ENOUGH):
            if self.world.rotation is None or self.world.rotation.over:
                break
            self.take("advance")
            self.world.tick()
        else:
            raise AssertionError(f"it never ends: {self.world.rotation}")
        for _ in range(UNTIL_ALL_IS_QUIET):
            self.world.tick()


def expect_the_same_end(world: World, first: str) -> None:
    """What a rotation that nothing has disturbed comes to."""
    rotation, contents = world.rotation, world.place.history.now
    roots = set(map(fingerprint, parse_certificates(contents[CACERTS.roots])))
    assert set(contents) == set(vars_of_cacerts())
    if rotation is None or rotation.phase is Phase.ABORTED:
        wanted = {first} if rotation is None else set(map(fingerprint, rotation.old))
    else:
        assert rotation.phase is Phase.DONE
        assert rotation.new is not None
        wanted = {fingerprint(rotation.new)}
    assert roots == wanted
    assert [set(replica.bundle) for replica in world.replicas] == [wanted] * len(world.replicas)
    assert all(set(namespace.held or ()) == wanted for namespace in world.namespaces.values())
    assert all(client.roots == wanted for client in world.clients)
    marks = {mark for mark, known in world.store.history.now.roots.items() if world.clock.now() < known.until}
    assert marks <= wanted


def play(world: World, ops: list[Op], *, to_the_end: bool = True) -> None:
    """Do what a schedule says."""
    operator = Operator(world)
    for what, number in ops:
        if what in operator.steps:
            operator.take(what, number)
        elif what == "wait":
            for _ in range(number or 0):
                world.tick()
        elif what == "conflicts":
            world.fate.conflicts = number or 0
        elif what == "restart":
            # The first one lives on: without any that signs there are no renewals to look at.
            if len(world.replicas) > 1:
                world.restart(1 + (number or 0) % (len(world.replicas) - 1))
        elif what == "lead":
            world.lead((number or 0) % len(world.replicas))
        elif what == "overwrite":
            world.overwrite()
        elif world.scene.delays:
            world.appear(number or 0)
    if to_the_end:
        operator.finish()


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Worlds within what was configured; each limit is reached often."""
    settle, interval, longest = draw(st.integers(0, 5)), draw(st.integers(1, 15)), draw(st.integers(1, 25))
    lag = st.sampled_from(sorted({0, settle // 2, settle}))
    replicas = draw(st.lists(st.tuples(lag, lag), min_size=1, max_size=3))
    delays = draw(st.lists(st.integers(0, 12), max_size=3))
    client = st.tuples(st.integers(1, interval), st.sampled_from(sorted({1, longest})))
    clients = draw(st.lists(client, min_size=1, max_size=3))
    return Scene(settle, interval, longest, tuple(replicas), tuple(delays), tuple(clients))


DEATHS = st.none() | st.integers(0, 12)
OPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("advance"), DEATHS),
    st.tuples(st.sampled_from(["start", "abort"]), DEATHS),
    st.tuples(st.just("conflicts"), st.integers(0, 7)),
    st.tuples(st.sampled_from(["restart", "lead"]), st.integers(0, 2)),
    st.tuples(st.just("namespace"), st.integers(0, 20)),
    st.tuples(st.just("overwrite"), st.none()),
)
SCHEDULES = st.lists(OPS, max_size=25).map(lambda ops: [("start", None), *ops])


def expect_peace(offline: Path, scene: Scene, ops: list[Op]) -> None:
    """Play; the world checks itself at every minute, the end is checked here."""
    world = World(scene, offline)
    first = next(iter(world.replicas[0].bundle))
    play(world, ops)
    expect_the_same_end(world, first)
