"""The steps of a rotation: each writes down what it will do, has the CA do it, and writes down that it is done.

Whoever dies in between leaves an intent, and the next ``advance`` (or ``abort``) does the same again.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography import x509

from signer.core.chain import fingerprint
from signer.core.ports import Clock
from signer.core.rotation import OVER, Phase, Rotation, WrongPhase
from signer.core.rotator import RootRotator, RotationRefused
from signer.core.trust_record import KnownRoot, TrustRecord
from signer.trust.rotation.gates import Gate, GateView
from signer.trust.rotation.store import Store, StoreConflict

_TRIES = 8
# A root that is under rotation stays whatever this says.
_NEW_ROOT = timedelta(hours=1)


class GateClosed(Exception):
    """It is too early for the next step; ``view`` says what is waited for."""

    def __init__(self, view: GateView) -> None:
        super().__init__(view.waits_for)
        self.view = view


@dataclass(frozen=True, slots=True)
class Status:
    """Where things stand.

    Attributes:
        gate: What the next step waits for; None where there is nothing to wait for.
    """

    rotation: Rotation | None
    gate: GateView | None = None


class Steps:
    """Rotates.

    Args:
        store: Where the record is.
        rotator: The CA's hands.
        gate: Asked before a step.
        clock: Time.
    """

    def __init__(self, store: Store, rotator: RootRotator, gate: Gate, clock: Clock) -> None:
        self._store = store
        self._rotator = rotator
        self._gate = gate
        self._clock = clock

    async def status(self) -> Status:
        """Look, and change nothing."""
        record = await self._store.read()
        rotation = record.rotation
        if rotation is None or rotation.over or rotation.is_intent:
            return Status(rotation)
        return Status(rotation, await self._gate.look(rotation, record, self._clock.now()))

    async def start(self, backend: str, handle: str = "", *, given: bool = False) -> Rotation:
        """Begin: make the new issuer and have its root trusted.

        Raises:
            WrongPhase: One is under way.
            RotationRefused: The CA cannot.
        """
        # First, for the CA of a rotation under way may have reasons of its own, which would mislead.
        _check_free(await self._store.read())
        old = await self._rotator.current()
        now = self._clock.now()
        mark = f"{now:%Y%m%d}-{secrets.token_hex(3)}"
        fresh = Rotation(mark, backend, Phase.PREPARING, old, now, handle=handle, given=given)

        def begin(record: TrustRecord) -> TrustRecord:
            _check_free(record)
            return replace(record, rotation=fresh)

        await self._update(begin)
        return await self._carry_out(fresh)

    async def advance(self) -> Rotation:
        """Take the next step, or do again the one that died.

        Raises:
            WrongPhase: There is none.
            GateClosed: It is too early.
            RotationRefused: The CA cannot; the intent stays, for another try.
        """
        record = await self._store.read()
        rotation = record.rotation
        if rotation is None or rotation.phase in OVER:
            raise WrongPhase("no rotation is under way; begin one with start")
        if rotation.is_intent:
            return await self._carry_out(rotation)
        view = await self._gate.look(rotation, record, self._clock.now())
        if not view.open:
            raise GateClosed(view)
        return await self._carry_out(await self._replace(rotation, rotation.intend(self._clock.now())))

    async def abort(self) -> Rotation:
        """Give up, while that breaks nobody.

        Raises:
            WrongPhase: The new issuer may have signed, or there is no rotation.
            RotationRefused: The CA cannot take back what it has made; the intent stays.
        """
        rotation = (await self._store.read()).rotation
        if rotation is None or rotation.phase in OVER:
            raise WrongPhase("no rotation is under way")
        giving_up = rotation.give_up(self._clock.now())
        if giving_up is not rotation:
            await self._replace(rotation, giving_up)
        return await self._carry_out(giving_up)

    async def _carry_out(self, rotation: Rotation) -> Rotation:
        new = await self._hands()[rotation.phase](rotation)
        if new is not None and fingerprint(new) in {fingerprint(root) for root in rotation.old}:
            raise RotationRefused("the new issuer is under the old root: there is nothing to rotate; abort")
        return await self._replace(rotation, rotation.done(self._clock.now(), new))

    def _hands(self) -> Mapping[Phase, Callable[[Rotation], Awaitable[x509.Certificate | None]]]:
        return {
            Phase.PREPARING: self._rotator.prepare,
            Phase.SWITCHING: self._rotator.switch,
            Phase.RETIRING: self._rotator.retire,
            Phase.ABORTING: self._rotator.discard,
        }

    async def _replace(self, before: Rotation, after: Rotation) -> Rotation:
        """Write a phase over the one that it follows, and no other."""

        def step(record: TrustRecord) -> TrustRecord:
            there = record.rotation
            if there == after:
                return record
            if there is None or (there.id, there.phase) != (before.id, before.phase):
                raise WrongPhase("somebody else has moved the rotation meanwhile; look at its status")
            known = record if after.new is None else self._noted(record, after)
            return replace(known, rotation=after).pruned(self._clock.now())

        await self._update(step)
        return after

    def _noted(self, record: TrustRecord, rotation: Rotation) -> TrustRecord:
        """Have the leader say since when the new root is everywhere."""
        assert rotation.new is not None  # noqa: S101  the caller looked
        return record.vouched([KnownRoot(rotation.new, self._clock.now() + _NEW_ROOT)])

    async def _update(self, change: Callable[[TrustRecord], TrustRecord]) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                await self._store.update(change)
                return
            except StoreConflict:
                if attempt == _TRIES:
                    raise


def _check_free(record: TrustRecord) -> None:
    there = record.rotation
    if there is not None and not there.over:
        raise WrongPhase(
            f"rotation {there.id} of backend {there.backend} is {there.phase.value}: advance or abort it first"
        )
