"""From an order to a proven chain: remembered, shared with who asks the same, or signed by a backend of the route."""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

from signer.core.chain import VerifiedChain
from signer.core.errors import BackendTimeout, ChainRejected
from signer.core.ports import Backend, BundleSource, Clock
from signer.core.types import IssuedChain, SigningRequest
from signer.core.validity import Validity, decide
from signer.core.verify import ChainVerifier
from signer.core.verify_leaf import leaf_fault
from signer.issue.dedupe import Coalescer, Flight
from signer.issue.failover import Failover
from signer.issue.request import Order
from signer.issue.route import Route
from signer.issue.tally import Tally
from signer.issue.trace import Trace

# An answer is remembered for so much of its certificate's life, and so many seconds at most.
REMEMBERED_PART, MAX_REMEMBERED_SECONDS = 0.1, 60.0
# A flight that its starter's deadline ended is worth another start for who has at least so many seconds more.
WORTH_A_START = 0.1


@dataclass(frozen=True, slots=True)
class Signed:
    """What a backend returned, not proven; and what it was asked for, as far as whoever asks the same may share it."""

    issued: IssuedChain
    validity: Validity
    backend: str


@dataclass(frozen=True, slots=True)
class SigningParts:
    """What signing is made of.

    Attributes:
        chance: Numbers in [0, 1) for jitter of pauses.
    """

    bundle: BundleSource
    clock: Clock
    tally: Tally
    chance: Callable[[], float] = random.random


class Signing:
    """Has orders signed."""

    def __init__(self, parts: SigningParts) -> None:
        self._parts = parts
        self._verifier = ChainVerifier()
        self._desk: Coalescer[Failover[Signed], Signed] = Coalescer(parts.clock)
        self._era = 0

    def new_routes(self) -> None:
        """Share nothing with what was asked before: a route of the same name may now lead elsewhere."""
        self._era += 1
        self._desk.clear()

    async def sign(self, route: Route, order: Order, trace: Trace) -> VerifiedChain:
        """Have one order signed.

        Raises:
            SignerError: No backend has signed it, or the answer is not what was asked for.
        """
        trace.to("backend")
        key = (self._era, route.name, *identity_of(order))
        known = self._recalled(key, order, trace)
        if known is not None:
            return known
        if all(guarded.at_once for guarded in route.backends):
            return await self._alone(key, route, order, trace)
        try:
            return await self._shared(key, route, order, trace)
        except _StarterTimedOut:
            trace.to("backend")
            return await self._shared(key, route, order, trace, again=True)

    def _recalled(self, key: Hashable, order: Order, trace: Trace) -> VerifiedChain | None:
        """The answer of a moment ago, proven anew: the bundle may have changed since."""
        signed = self._desk.recall(key)
        if signed is None:
            return None
        try:
            chain = self._proven(signed, order)
        except ChainRejected:
            self._desk.forget(key)
            return None
        trace.outcome.backend, trace.outcome.coalesced = signed.backend, "remembered"
        self._parts.tally.coalesced("remembered")
        return chain

    async def _alone(self, key: Hashable, route: Route, order: Order, trace: Trace) -> VerifiedChain:
        """Without a task to share: by the time that anybody else can ask, the answer is there."""
        work = self._start(route, order)
        try:
            signed = await work.run()
        finally:
            _note(work, trace)
        return await self._accepted(key, signed, order, trace)

    async def _shared(
        self, key: Hashable, route: Route, order: Order, trace: Trace, again: bool = False
    ) -> VerifiedChain:
        with self._desk.flight(key, partial(self._start, route, order)) as (flight, joined):
            if joined:
                trace.outcome.coalesced = "in_flight"
            signed = await self._landed(flight, order, trace, joined and not again)
            chain = await self._accepted(key, signed, order, trace)
            if joined:
                self._parts.tally.coalesced("in_flight")
            return chain

    async def _accepted(self, key: Hashable, signed: Signed, order: Order, trace: Trace) -> VerifiedChain:
        trace.to("verify")
        chain = await self._verified(signed, order)
        self._desk.remember(key, signed, remembered_seconds(signed))
        return chain

    async def _landed(
        self, flight: Flight[Failover[Signed], Signed], order: Order, trace: Trace, may_start_anew: bool
    ) -> Signed:
        try:
            return await flight.answer()
        except BackendTimeout as error:
            if may_start_anew and order.ends - flight.work.ends > WORTH_A_START:
                trace.outcome.coalesced = ""
                raise _StarterTimedOut(error.reason) from None
            raise
        finally:
            _note(flight.work, trace)

    def _start(self, route: Route, order: Order) -> Failover[Signed]:
        parts = self._parts
        work = partial(self._signed_by, route, order)
        return Failover(route.name, route.backends, work, order.ends, parts.tally, parts.chance)

    async def _signed_by(self, route: Route, order: Order, backend: Backend) -> Signed:
        """One attempt at one backend."""
        issuer = await backend.issuer()
        now, chance = self._parts.clock.now(), chance_of(order)
        validity = decide(order.request.ttl, route.profile.validity, now, issuer.window, chance)
        return Signed(await backend.sign(request_of(order, validity)), validity, backend.name)

    async def _verified(self, signed: Signed, order: Order) -> VerifiedChain:
        """Verify against the bundle of now; where that fails, once more against what the backends say anew."""
        before = self._parts.bundle.current().digest
        try:
            return self._proven(signed, order)
        except ChainRejected:
            # No root mends a leaf of another name, key or lifetime: nobody is asked for its sake.
            if leaf_fault(signed.issued.leaf, request_of(order, signed.validity), self._parts.clock.now()) is not None:
                raise
            fresh = await self._parts.bundle.refresh()
            if fresh.digest == before:
                raise
        return self._proven(signed, order)

    def _proven(self, signed: Signed, order: Order) -> VerifiedChain:
        """Prove it for this very order, whoever's order it was signed for."""
        request = request_of(order, signed.validity)
        return self._verifier.verify(signed.issued, request, self._parts.bundle.current(), self._parts.clock.now())


def _note(work: Failover[Signed], trace: Trace) -> None:
    trace.outcome.backend, trace.outcome.passed_over = work.backend, tuple(work.passed_over)


class _StarterTimedOut(BackendTimeout):
    """A shared flight ended by the deadline of who started it; this asker has more time."""


def identity_of(order: Order) -> tuple[Hashable, ...]:
    """Everything of an order that its answer depends on; who asks comes first, so that nobody shares with another."""
    request, grant = order.request, order.grant
    caller = grant.caller
    pod = caller.pod.uid if caller.pod else ""
    who = (caller.identity, caller.method, caller.cluster, pod, grant.identity, grant.impersonated)
    return (*who, order.csr.parsed.digest, request.ttl, request.signer_name)


def chance_of(order: Order) -> float:
    """The number in [0, 1) that a lifetime's jitter comes from: the CSR's own, not drawn.

    A retry, perhaps at another replica, may be given what the first try was signed with: it must have asked for the
    same lifetime, or that answer would seem to outlive the wish. Each renewal has a CSR of its own, so they spread.
    """
    return int(order.csr.parsed.digest[:13], 16) / 16**13


def request_of(order: Order, validity: Validity) -> SigningRequest:
    """What a backend is asked for."""
    return SigningRequest(
        id=order.request.id,
        subject=order.grant.identity,
        csr=order.csr,
        validity=validity,
        signer_name=order.request.signer_name,
        grant=order.grant,
    )


def remembered_seconds(signed: Signed) -> float:
    """How long an answer may be given again."""
    return min(MAX_REMEMBERED_SECONDS, signed.validity.lifetime.total_seconds() * REMEMBERED_PART)
