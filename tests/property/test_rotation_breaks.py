"""The rotation's property, tried on rotations that are wrong: a check that nothing can fail proves nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from signer.core import rotation as rotation_module
from signer.core.rotation import ABORTABLE, Phase, Rotation
from signer.core.rotator import RotationRefused
from signer.core.trust_record import TrustRecord
from signer.trust.rotation.gates import OPEN, GateView, NamespaceGate
from signer.trust.rotation.steps import GateClosed, Steps
from tests.property.rotation_hands import DyingPlace
from tests.property.rotation_play import Op, expect_peace
from tests.property.rotation_world import MINUTE, Scene, World


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where new roots' keys go."""
    return tmp_path_factory.mktemp("offline")


def _waits(**changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """An operator who has told less than the truth."""
    real = Scene.waits.fget  # type: ignore[attr-defined]
    return lambda patch: patch.setattr(
        Scene, "waits", property(lambda scene: replace(real(scene), **{k: v(scene) for k, v in changes.items()}))
    )


def _no_look_at_namespaces(patch: pytest.MonkeyPatch) -> None:
    async def look(*_: object) -> GateView:
        return OPEN

    patch.setattr(NamespaceGate, "look", look)
    patch.setattr(World, "lacking", lambda *_: [])


def _ca_before_record(patch: pytest.MonkeyPatch) -> None:
    real = Steps._carry_out

    async def advance(self: Any) -> Rotation:
        rotation = (await self._store.read()).rotation
        if rotation is None or rotation.over or rotation.is_intent:
            return await Steps_advance(self)
        status = await self.status()
        if not status.gate.open:
            raise GateClosed(status.gate)
        intent = rotation.intend(self._clock.now())
        await self._hands()[intent.phase](intent)
        return await real(self, await self._replace(rotation, intent))

    Steps_advance = Steps.advance  # noqa: N806
    patch.setattr(Steps, "advance", advance)


def _forgets_what_a_rotation_holds(patch: pytest.MonkeyPatch) -> None:
    def pruned(self: TrustRecord, now: datetime) -> TrustRecord:
        kept = {m: k for m, k in self.roots.items() if m not in self.forgotten and now < k.until}
        return replace(self, roots=kept)

    patch.setattr(TrustRecord, "pruned", pruned)


def _key_first(patch: pytest.MonkeyPatch) -> None:
    real = DyingPlace.save

    async def save(self: DyingPlace, changes: dict[str, bytes | None]) -> None:
        await real(self, dict(reversed(changes.items())))

    patch.setattr(DyingPlace, "save", save)


def _may_abort(*phases: Phase) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(f"{rotation_module.__name__}.ABORTABLE", ABORTABLE | set(phases))


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "replicas need no time": _waits(settle=lambda _: timedelta(0)),
    "half a client interval": _waits(client_interval=lambda scene: scene.interval * MINUTE / 2),
    "retired before the last leaf ends": _waits(longest_life=lambda scene: scene.longest * MINUTE / 2),
    "the leader's word counts for nothing": _waits(distributed=lambda _: False),
    "nobody looks at namespaces": _no_look_at_namespaces,
    "the CA before the record": _ca_before_record,
    "what a rotation holds is forgotten": _forgets_what_a_rotation_holds,
    "the key before the rest": _key_first,
    "abort while switching": _may_abort(Phase.SWITCHING),
    "abort while signing": _may_abort(Phase.SIGNING),
    "the new root is not trusted first": lambda patch: patch.setattr(
        rotation_module, "_NEW_TRUSTED", frozenset({Phase.SIGNING, Phase.RETIRING})
    ),
}


SLOW = Scene(4, 9, 20, ((0, 4), (4, 0), (4, 4)), (0, 6), ((9, 20),) * 3 + ((1, 20),) * 3)
ALONE = replace(SLOW, delays=())
EAGER: list[Op] = [op for _ in range(80) for op in (("advance", None), ("wait", 1))]
# What a schedule drawn at random finds sooner or later, to be found at once.
WITNESSES: list[tuple[Scene, list[Op]]] = [
    (SLOW, [("start", None), *EAGER]),
    # Clients come back at other moments of the rotation.
    *((ALONE, [("wait", minutes), ("start", None), *EAGER]) for minutes in range(1, 10)),
    *((SLOW, [("start", None), ("wait", minutes), ("overwrite", None), *EAGER]) for minutes in range(16, 22, 2)),
    (SLOW, [("start", None), ("wait", 90), *EAGER]),
    *((ALONE, [("start", effects), ("wait", 9), *EAGER]) for effects in range(4, 8)),
    *((ALONE, [("start", None), ("wait", 14), ("advance", n), ("wait", 9), ("abort", None)]) for n in range(8)),
    (ALONE, [("start", None), ("wait", 14), ("advance", None), ("wait", 9), ("abort", None)]),
]


def _found(offline: Path, scene: Scene, ops: list[Op]) -> Exception | None:
    try:
        expect_peace(offline, scene, ops)
    except (AssertionError, RotationRefused, KeyError) as error:
        return error
    return None


def test_witnesses_find_nothing_where_nothing_is_wrong(offline: Path) -> None:
    """They fail for what is broken, not by themselves."""
    assert [_found(offline, *witness) for witness in WITNESSES] == [None] * len(WITNESSES)


@pytest.mark.parametrize("broken", BROKEN)
def test_the_property_notices(offline: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these must be found."""
    BROKEN[broken](monkeypatch)
    assert any(_found(offline, *witness) for witness in WITNESSES), "nobody has noticed"
