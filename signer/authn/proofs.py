"""When each identity was last proven by a token: what limits how long certificates renew themselves."""

from signer.core.identity import SpiffeId
from signer.core.ports import Clock
from signer.core.recent import Recent

MAX_PROOFS = 100_000


class Proofs:
    """When each identity was last proven by a token; remembers ``MAX_PROOFS`` of them, the latest."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: Recent[SpiffeId, float] = Recent(MAX_PROOFS)

    def proven(self, identity: SpiffeId) -> None:
        """Note that a token has proven an identity just now."""
        self._times.put(identity, self._clock.monotonic())

    def age(self, identity: SpiffeId) -> float | None:
        """Seconds since then; None where it is not known."""
        noted = self._times.get(identity)
        return None if noted is None else self._clock.monotonic() - noted
