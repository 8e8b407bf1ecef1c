"""Tokens that are judged from memory, and the queue that only those meet which are not."""

import asyncio

import pytest

from signer.authn.bearer import QUEUE, BearerAuthenticator, BearerPolicy
from signer.authn.direct import DirectAuthenticator, Queued
from signer.core.errors import AuthenticationFailed, Overloaded
from signer.core.types import Caller, Credentials, Secret
from tests.support.clock import FakeClock
from tests.support.fakes import CALLER, Switch
from tests.support.tokens import NOW_SECONDS, raw_token, token
from tests.support.waiting import give_up, settle

GOOD = raw_token(b'{"aud":"istio-ca","n":0}', b"{}")


def junk(number: int) -> str:
    """A token that somebody else must judge."""
    return raw_token(b'{"aud":"istio-ca","junk":%d}' % number, b"{}")


class Slow:
    """A far side that hangs."""

    def __init__(self) -> None:
        self.switch = Switch(held=True)

    async def judge(self, token: str) -> Caller:
        """Wait for ever."""
        await self.switch.passing()
        return CALLER


class Offline:
    """Knows one token, and leaves the others to the far side."""

    def __init__(self, fallback: Queued) -> None:
        self.fallback = fallback

    async def judge(self, token: str) -> Caller:
        """At once, or not."""
        return CALLER if token == GOOD else await self.fallback.judge(token)


class Desk:
    """The authenticator over both."""

    def __init__(self) -> None:
        clock, self.counted = FakeClock(), list[str]()
        self.clock, self.slow = clock, Slow()
        policy = BearerPolicy(["istio-ca"], 5.0, concurrency=2)
        self.queue = BearerAuthenticator(self.slow, policy, clock, self.counted.append)
        judge = Offline(Queued(self.queue))
        self.desk = DirectAuthenticator(judge, ["istio-ca"], clock, self.counted.append)

    async def ask(self, token: str) -> Caller:
        """Authenticate."""
        return await self.desk.authenticate(Credentials(Secret(token)))


async def test_junk_that_waits_for_a_far_side_is_in_nobodys_way() -> None:
    """Its own queue is full; a token that needs nobody is judged."""
    desk = Desk()
    waiting = [asyncio.create_task(desk.ask(junk(n))) for n in range(2 * QUEUE)]
    await settle()
    with pytest.raises(Overloaded):
        await desk.ask(junk(100))
    assert await desk.ask(GOOD) == CALLER
    for task in waiting:
        await give_up(task)
    await desk.queue.close()


async def test_what_a_far_side_says_is_remembered() -> None:
    """For a moment, and not past the token's end: it is read from the token again."""
    desk, short = Desk(), token(exp=NOW_SECONDS + 2)
    desk.slow.switch.opened.set()
    for _ in range(2):
        assert await desk.ask(short) == CALLER
    assert desk.counted == ["offline", "fresh", "offline", "cached"]
    desk.clock.advance(2)
    await desk.ask(short)
    assert desk.slow.switch.calls == 2


async def test_what_is_refused_unseen() -> None:
    """Nothing, and what has not the form."""
    desk = Desk()
    with pytest.raises(AuthenticationFailed, match="no bearer token"):
        await desk.desk.authenticate(Credentials(None))
    with pytest.raises(AuthenticationFailed, match="not a JWT"):
        await desk.ask("abc")
    assert desk.counted == ["shape"]
