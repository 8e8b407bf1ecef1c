"""Electors over an API server in memory, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from signer.kube.lease import Elector
from tests.support import virtual_time
from tests.support.virtual_time import LoopClock
from tests.unit.kube.fake_leases import SETTINGS, Leases, Line


class Member:
    """One elector, its line, and what it told."""

    def __init__(self, leases: Leases, identity: str) -> None:
        loop = asyncio.get_running_loop()
        self.line = Line(leases)
        self.told: list[tuple[float, bool]] = []
        self.elector = Elector(
            self.line,
            replace(SETTINGS, identity=identity),
            LoopClock(loop),
            lambda leads: self.told.append((loop.time(), leads)),
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "Member":
        """Stand for election."""
        self._task = asyncio.create_task(self.elector.run())
        return self

    async def kill(self) -> None:
        """End without a release."""
        assert self._task is not None
        assert not self._task.done(), "it never ends by itself"
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def leads(self) -> float:
        """The moment from which it leads, waited for."""
        async with asyncio.timeout(120):
            await self.elector.wait()
        return asyncio.get_running_loop().time()


class Scene:
    """A server and its electors."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.members: list[Member] = []

    def member(self, identity: str) -> Member:
        """One more; not started."""
        self.members.append(Member(self.leases, identity))
        return self.members[-1]

    @property
    def now(self) -> float:
        """The loop's hands."""
        return asyncio.get_running_loop().time()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let time pass until something holds."""
        for _ in range(12_000):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never came to hold")

    async def leader(self, identity: str = "a") -> Member:
        """One that leads."""
        member = self.member(identity).start()
        await member.leads()
        return member


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    """Play a story to its end in virtual time."""

    async def main() -> None:
        at = Scene()
        await story(at)
        for member in at.members:
            if member._task is not None and not member._task.done():
                await member.kill()

    virtual_time.run(main)
