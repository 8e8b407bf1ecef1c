"""Whatever backends do and however long it takes: an answer in time, no call through an open breaker, no way around a
refusal."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from signer.core.errors import MEANINGS, BackendRefused, BackendTimeout, BackendUnavailable, Code
from signer.core.types import IssuedChain, Outcome, SigningRequest
from signer.issue.admission import Admission
from signer.issue.breaker import State
from signer.issue.guard import Guarded, GuardPolicy
from signer.issue.pipeline import Pipeline
from signer.issue.route import Route, Router
from tests.support import virtual_time
from tests.support.fakes import FakeBackend
from tests.support.line import Line, call
from tests.support.pki import make_ca
from tests.support.virtual_time import LoopClock

_FAULTS: dict[str, BaseException | None] = {
    "signs": None,
    "unavailable": BackendUnavailable("down"),
    "timeout": BackendTimeout("slow"),
    "refused": BackendRefused("no"),
    "bug": KeyError("bug"),
    "cancelled": asyncio.CancelledError(),
}
_CODES = {told.code for told in MEANINGS.values()} | {Code.OK, Code.INTERNAL}
_CA = make_ca("root")
Step = tuple[str, float]


class Actor(FakeBackend):
    """Does what its part says, one step a call, and notes what its breaker said at each."""

    def __init__(self, name: str, part: list[Step]) -> None:
        super().__init__(name, _CA)
        self.part = part
        self.guarded: Guarded | None = None
        self.seen: list[tuple[str, State, float]] = []
        self.at_work = 0
        self.refused: list[str] = []

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Play the next step; the last one for ever."""
        what, seconds = self.part[min(len(self.seen), len(self.part) - 1)]
        assert self.guarded is not None
        state = self.guarded.view().state
        self.seen.append((request.id, state, asyncio.get_running_loop().time()))
        self.at_work += 1
        assert state is State.CLOSED or (state is State.HALF_OPEN and self.guarded.refuses), "through an open breaker"
        try:
            await asyncio.sleep(seconds)
        finally:
            self.at_work -= 1
        fault = _FAULTS[what]
        if isinstance(fault, BackendRefused):
            self.refused.append(request.id)
        if fault is not None:
            raise fault
        return await super().sign(request)


@dataclass
class Play:
    """What happens: the parts of the backends, and when who asks with how much time."""

    parts: list[list[Step]]
    asks: list[tuple[float, float]]
    policy: GuardPolicy
    late: list[float] = field(default_factory=list)

    async def run(self) -> tuple[list[Outcome], list[Actor]]:
        """Play it."""
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        actors = [Actor(f"b{i}", part) for i, part in enumerate(self.parts)]
        for actor in actors:
            actor.guarded = Guarded(actor, self.policy, clock, chance=lambda: 0.0)
        line = Line(admission=Admission(100, 100, 60.0))
        guarded = tuple(a.guarded for a in actors if a.guarded)
        parts = replace(line.parts(), clock=clock, router=Router([Route("r", line.match, guarded, line.profile)]))
        pipeline = Pipeline(parts)
        await asyncio.gather(*(self._ask(pipeline, i, *ask) for i, ask in enumerate(self.asks)))
        await asyncio.sleep(2000.0)
        assert [one.refuses for one in guarded] == [False] * len(guarded), "a breaker is stuck"
        assert [one._places.in_flight for one in guarded] == [0] * len(guarded), "a place is lost"
        assert asyncio.all_tasks() == {asyncio.current_task()}, "somebody is still at work"
        assert [actor.at_work for actor in actors] == [0] * len(actors)
        return line.witness.outcomes, actors

    async def _ask(self, pipeline: Pipeline, number: int, at: float, budget: float) -> None:
        await asyncio.sleep(at)
        start = asyncio.get_running_loop().time()
        # Each its own question: sharing has tests of its own. Failures are in the Outcomes.
        with suppress(Exception):
            await pipeline.issue(replace(call(), id=f"r{number}", ttl=3600 + number, budget=budget))
        self.late.append(asyncio.get_running_loop().time() - start - budget)


_SECONDS = st.sampled_from([0.0, 0.01, 0.3, 1.5, 5.0, 1000.0])
_PARTS = st.lists(st.tuples(st.sampled_from(sorted(_FAULTS)), _SECONDS), min_size=1, max_size=6)
_ASKS = st.lists(st.tuples(st.floats(0.0, 60.0), st.sampled_from([0.001, 0.2, 2.0, 8.0])), min_size=1, max_size=25)
_POLICIES = st.builds(
    GuardPolicy,
    concurrency=st.integers(1, 3),
    waiting=st.integers(0, 3),
    rate=st.none() | st.sampled_from([0.5, 5.0]),
    attempts=st.integers(1, 3),
    timeout=st.none() | st.sampled_from([0.2, 3.0]),
    breaker_failures=st.integers(1, 3),
    breaker_open=st.sampled_from([1.0, 10.0]),
)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(_PARTS, min_size=1, max_size=3), asks=_ASKS, policy=_POLICIES)
@example([[("signs", 1000.0)], [("signs", 0.0)]], [(0.0, 8.0)], GuardPolicy())
def test_any_play(parts: list[list[Step]], asks: list[tuple[float, float]], policy: GuardPolicy) -> None:
    """See the module."""
    play = Play(parts, asks, policy)
    outcomes, actors = virtual_time.run(play.run)
    assert len(outcomes) == len(asks)
    assert max(play.late) < 1e-6, "an answer after its deadline"
    assert {outcome.code for outcome in outcomes} <= _CODES
    for place, actor in enumerate(actors):
        asked_after = {request for other in actors[place + 1 :] for request, _, _ in other.seen}
        assert not asked_after & set(actor.refused), "a refusal led to another backend"
    for actor in actors:
        # Half-open is one call at a time: two trials at one moment would be two calls of one state.
        trials = [at for _, state, at in actor.seen if state is State.HALF_OPEN]
        assert len(trials) == len(set(trials))


def test_a_hanging_first_backend_costs_half_the_time() -> None:
    """Until its breaker opens: from then on, nothing."""
    asks = [(i * 10.0, 8.0) for i in range(6)]
    play = Play([[("signs", 1000.0)], [("signs", 0.0)]], asks, GuardPolicy(breaker_open=1000.0))
    outcomes, (first, second) = virtual_time.run(play.run)
    assert [round(outcome.seconds, 1) for outcome in outcomes] == [3.9] * 5 + [0.0]
    assert {outcome.backend for outcome in outcomes} == {"b1"}
    assert (len(first.seen), len(second.seen)) == (5, 6)
