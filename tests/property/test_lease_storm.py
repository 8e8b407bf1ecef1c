"""Electors in a storm, in virtual time: slow, cut and late calls, writes that are done long after their caller gave up,
clocks of different speeds, crashes, deletions. Never do two lead, and once it is over one does."""

import asyncio
import json
import random
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.lease import Elector
from tests.support import virtual_time
from tests.support.clock import NOW
from tests.unit.kube.fake_leases import SETTINGS, Leases, Line

MEMBERS = 4
STORM_SECONDS, CALM_SECONDS, LOOK_SECONDS = 600.0, 120.0, 0.05
CHANCE = 0.0005


@dataclass
class StormyLine(Line):
    """A line whose faults are drawn by ``dice``; none once the storm is over."""

    dice: random.Random = field(default_factory=random.Random)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    late_posts: bool = True

    async def call(
        self, method: str, path: str, timeout: float, body: dict[str, Any] | None = None, **options: Any
    ) -> Answer:
        """Send one request, with luck."""
        faults = ["cut", "slow", "lost"] + ["limbo", "frozen"] * (method != "POST" or self.late_posts)
        fault = self.dice.choice(["none"] * 6 + faults)
        if fault == "none" or self.over.is_set():
            return await super().call(method, path, timeout, body)
        sent = json.loads(json.dumps(body))
        return await getattr(self, f"_{fault}")(method, timeout, sent)  # type: ignore[no-any-return]

    async def _cut(self, method: str, timeout: float, body: dict[str, Any] | None) -> Answer:
        raise ApiUnavailable("no connection")

    async def _slow(self, method: str, timeout: float, body: dict[str, Any] | None) -> Answer:
        await asyncio.sleep(self.dice.uniform(0.0, timeout / 2))
        answer = self.leases.answer(method, body)
        await asyncio.sleep(self.dice.uniform(0.0, timeout / 2))
        return answer

    async def _lost(self, method: str, timeout: float, body: dict[str, Any] | None) -> Answer:
        self.leases.answer(method, body)
        await asyncio.sleep(timeout)
        raise ApiUnavailable("no answer")

    async def _limbo(self, method: str, timeout: float, body: dict[str, Any] | None) -> Answer:
        """Done by the server long after nobody waits any more."""
        asyncio.get_running_loop().call_later(self.dice.uniform(0.0, 40.0), self.leases.answer, method, body)
        await asyncio.sleep(timeout)
        raise ApiUnavailable("no answer")

    async def _frozen(self, method: str, timeout: float, body: dict[str, Any] | None) -> Answer:
        """The caller stood still before or after, deadlines included, and finds the answer when it wakes."""
        await asyncio.sleep(self.dice.choice([0.0, self.dice.uniform(0.0, 40.0)]))
        answer = self.leases.answer(method, body)
        await asyncio.sleep(self.dice.uniform(0.0, 40.0))
        return answer


@dataclass
class OwnClock:
    """Of one machine: another zero, another speed, a wall clock years off."""

    speed: float
    zero: float

    def now(self) -> datetime:
        """The wall clock, which does not even move."""
        return NOW

    def monotonic(self) -> float:
        """The clock of deadlines."""
        return self.zero + asyncio.get_running_loop().time() * self.speed


class Storm:
    """A server and its electors, all faults by one seed."""

    def __init__(self, seed: int, deletions: bool) -> None:
        self.dice = random.Random(seed)
        self.deletions = deletions
        self.over = asyncio.Event()
        self.leases = Leases()
        self.running: list[tuple[Elector, asyncio.Task[None]]] = []
        self.born = 0
        self.terms: list[int] = []
        self.led = 0

    def start(self) -> None:
        """One more process."""
        self.born += 1
        line = StormyLine(self.leases, dice=self.dice, over=self.over, late_posts=not self.deletions)
        clock = OwnClock(self.dice.uniform(0.9, 1.1), self.dice.uniform(0.0, 1e6))
        elector = Elector(line, replace(SETTINGS, identity=f"process-{self.born}"), clock)
        self.running.append((elector, asyncio.create_task(elector.run())))

    async def end(self) -> None:
        """Crash any, or end it in good order."""
        elector, task = self.running.pop(self.dice.randrange(len(self.running)))
        assert not task.done(), "it never ends by itself"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self.dice.random() < 0.5:
            await elector.close()

    def look(self) -> None:
        """At most one leads."""
        leaders = [elector for elector, _ in self.running if elector.leads]
        assert len(leaders) < 2, f"two lead at {asyncio.get_running_loop().time()}"
        self.led += len(leaders)
        if leaders and leaders[0].term not in self.terms[-1:]:
            self.terms.append(leaders[0].term)

    async def disaster(self) -> None:
        """One process makes way for another, or the Lease is deleted.

        Not both: who comes after a deletion cannot know that there was a Lease, and makes one (so does client-go).
        Nor does a POST arrive late then: unlike a PUT it names no version, and is done after a deletion.
        """
        if not self.deletions:
            await self.end()
            self.start()
        elif all(elector.holder for elector, _ in self.running):
            self.leases.item = None

    async def pass_time(self, seconds: float) -> None:
        """Look all the time; crash at times, until it is over."""
        for _ in range(int(seconds / LOOK_SECONDS)):
            await asyncio.sleep(LOOK_SECONDS)
            self.look()
            if not self.over.is_set() and self.dice.random() < CHANCE:
                await self.disaster()

    async def play(self) -> None:
        """The whole of it."""
        for _ in range(MEMBERS):
            self.start()
        await self.pass_time(STORM_SECONDS)
        self.over.set()
        # What is still in limbo lands.
        await self.pass_time(CALM_SECONDS)
        assert [elector.leads for elector, _ in self.running].count(True) == 1
        assert {elector.holder for elector, _ in self.running} == {self.leases.spec["holderIdentity"]}
        while self.running:
            await self.end()


@pytest.mark.parametrize("deletions", [False, True], ids=["crashes", "deletions"])
@pytest.mark.parametrize("seed", range(8))
def test_never_do_two_lead_and_in_the_end_one_does(seed: int, deletions: bool) -> None:
    storm: list[Storm] = []

    async def main() -> None:
        storm.append(Storm(seed, deletions))
        await storm[0].play()

    virtual_time.run(main)
    # Who makes a Lease again goes on from the last term that it has heard of.
    assert deletions or storm[0].terms == sorted(set(storm[0].terms)), "a term never comes back"
    assert len(storm[0].terms) > 1
    assert storm[0].led * LOOK_SECONDS > STORM_SECONDS / 3, "a storm, and still somebody leads for much of the time"
