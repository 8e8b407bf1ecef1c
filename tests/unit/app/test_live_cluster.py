"""Callers who are with a judge when it is replaced get a verdict, or are told to try again; nobody hangs."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from signer.app.live_cluster import DRAIN_SECONDS, BuiltCluster, Live
from signer.core.errors import AuthenticationUnavailable
from signer.core.types import Caller, Credentials
from tests.support.fakes import FakeAuthenticator, credentials
from tests.support.virtual_time import run
from tests.support.waiting import settle


class Slow:
    """Judges in a task of its own that ``close`` cancels, as the real one does."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._tasks: list[asyncio.Task[Caller]] = []

    async def authenticate(self, given: Credentials) -> Caller:
        self._tasks.append(asyncio.create_task(self._judge(given)))
        return await asyncio.shield(self._tasks[-1])

    async def _judge(self, given: Credentials) -> Caller:
        await asyncio.sleep(self._seconds)
        return await FakeAuthenticator().authenticate(given)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()


async def _asked(seconds: float) -> tuple[Live, "asyncio.Task[Caller]"]:
    slow = Slow(seconds)
    opened = AsyncExitStack()
    opened.push_async_callback(slow.close)
    live = Live("east", BuiltCluster(slow, None, slow.close), opened)
    asking = asyncio.create_task(live.authenticator.authenticate(credentials(cluster="east")))
    await settle()
    return live, asking


def test_who_is_being_judged_gets_the_verdict() -> None:
    async def main() -> None:
        live, asking = await _asked(DRAIN_SECONDS - 1.0)
        await live.close()
        assert (await asking).identity

    run(main)


def test_who_takes_too_long_is_told_to_try_again() -> None:
    async def main() -> None:
        live, asking = await _asked(DRAIN_SECONDS + 1.0)
        await live.close()
        with pytest.raises(AuthenticationUnavailable, match="cluster east: its connection was closed meanwhile"):
            await asking

    run(main)


def test_who_goes_away_is_let_go() -> None:
    async def main() -> None:
        live, asking = await _asked(60.0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await live.close()

    run(main)
