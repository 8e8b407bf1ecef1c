"""Duties of the leader: begun and ended with leadership, and never before this replica knows what the others know."""

import asyncio
from dataclasses import dataclass, field

from signer.trust.leading import Informed, while_leading
from tests.support import virtual_time


@dataclass
class Election:
    """As a test says."""

    leads: bool = False


@dataclass
class Source:
    """Answers as told, and counts the questions."""

    well: bool = True
    asked: list[bool] = field(default_factory=list)

    async def inform(self) -> bool:
        """Tell whether it could."""
        self.asked.append(self.well)
        return self.well


def test_nobody_acts_before_it_knows() -> None:
    async def play() -> list[bool]:
        election, source, seen = Election(), Source(well=False), list[bool]()
        informed = Informed(election, source.inform)
        work = asyncio.create_task(informed.run())
        for step in ("follows", "elected", "ill", "well", "lost", "again"):
            election.leads = step not in ("follows", "lost")
            source.well = step in ("well", "again")
            await asyncio.sleep(5)
            seen.append(informed.leads)
        assert len(source.asked) > 4, "it asks until it knows"
        assert source.asked.count(True) == 2, "once in each term"
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return seen

    assert virtual_time.run(play) == [False, False, False, True, False, True]


def test_lost_leadership_counts_at_once() -> None:
    """Whatever the task has noticed: it is looked at right before each write."""

    async def play() -> tuple[bool, bool]:
        election, source = Election(leads=True), Source()
        informed = Informed(election, source.inform)
        work = asyncio.create_task(informed.run())
        await asyncio.sleep(5)
        before = informed.leads
        election.leads = False
        after = informed.leads
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return before, after

    assert virtual_time.run(play) == (True, False)


def test_a_duty_ends_with_leadership_and_begins_anew() -> None:
    async def play() -> list[str]:
        election, told = Election(), list[str]()

        async def duty() -> None:
            told.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                told.append("ended")

        work = asyncio.create_task(while_leading(election, duty))
        for leads in (True, False, True):
            election.leads = leads
            await asyncio.sleep(2)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return told

    assert virtual_time.run(play) == ["begun", "ended", "begun", "ended"]
