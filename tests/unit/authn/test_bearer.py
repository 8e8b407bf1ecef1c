"""Bearer tokens: the memory of good verdicts, and one question per token at a time."""

import asyncio
from collections import Counter
from collections.abc import Collection
from datetime import datetime

import pytest

from signer.authn import bearer, shape
from signer.authn.bearer import MAX_CACHE_SECONDS, BearerAuthenticator, BearerPolicy
from signer.authn.shape import UnverifiedToken, check_shape
from signer.core.errors import (
    AuthenticationFailed,
    AuthenticationUnavailable,
    Overloaded,
    SignerError,
)
from signer.core.types import Caller
from tests.support.clock import FakeClock
from tests.support.fakes import CALLER, FakeJudge, credentials
from tests.support.tokens import AUDIENCES, NOW_SECONDS, token
from tests.support.waiting import give_up, settle

TOKEN = token()


class Desk:
    """An authenticator with its parts in reach."""

    def __init__(self, cache: float = 5.0, concurrency: int = 64, patience: float = 60.0) -> None:
        self.judge = FakeJudge()
        self.clock = FakeClock()
        self.counted: Counter[str] = Counter()
        policy = BearerPolicy(AUDIENCES, cache, concurrency, patience)
        self.authenticator = BearerAuthenticator(self.judge, policy, self.clock, lambda s: self.counted.update([s]))

    async def ask(self, text: str | None = TOKEN) -> Caller:
        """Show a token."""
        return await self.authenticator.authenticate(credentials(text))

    def asking(self, text: str = TOKEN) -> "asyncio.Task[Caller]":
        """Show one and go on."""
        return asyncio.create_task(self.ask(text))


async def test_no_token() -> None:
    """The header may be missing."""
    with pytest.raises(AuthenticationFailed, match="no bearer token"):
        await Desk().ask(None)


@pytest.mark.parametrize("text", ["", "x", token(aud="vault"), "\u00e9", "\ud800"])
async def test_rubbish_is_not_asked_about(text: str) -> None:
    """Refused by shape, counted as such."""
    desk = Desk()
    with pytest.raises(AuthenticationFailed):
        await desk.ask(text)
    assert desk.judge.tokens == []
    assert desk.counted == {"shape": 1}


async def test_a_good_verdict_is_remembered() -> None:
    """The second time nobody is asked."""
    desk = Desk()
    assert [await desk.ask(), await desk.ask()] == [CALLER, CALLER]
    assert desk.judge.tokens == [TOKEN]
    assert desk.counted == {"fresh": 1, "cached": 1}


async def test_tokens_are_told_apart() -> None:
    """Another token is another question."""
    desk = Desk()
    await desk.ask()
    await desk.ask(token(jti="2"))
    assert len(desk.judge.tokens) == 2


@pytest.mark.parametrize(("cache", "kept"), [(5.0, 5.0), (3600.0, MAX_CACHE_SECONDS), (0.0, 0.0)])
async def test_memory_is_short(cache: float, kept: float) -> None:
    """A deleted pod's token must die soon, whatever is configured."""
    desk = Desk(cache=cache)
    await desk.ask()
    desk.clock.advance(max(0.0, kept - 0.001))
    await desk.ask()
    assert len(desk.judge.tokens) == (1 if kept else 2)
    desk.clock.advance(0.001)
    await desk.ask()
    assert len(desk.judge.tokens) == (2 if kept else 3)


async def test_never_past_expiry() -> None:
    """A token that ends is not good for the rest of the memory's time."""
    desk = Desk()
    short = token(exp=NOW_SECONDS + 2)
    await desk.ask(short)
    desk.clock.advance(1.999)
    await desk.ask(short)
    assert len(desk.judge.tokens) == 1
    desk.clock.advance(0.001)
    desk.judge.switch.fault = AuthenticationFailed("expired")
    with pytest.raises(AuthenticationFailed, match="expired"):
        await desk.ask(short)


async def test_expired_long_ago_even_if_remembered() -> None:
    """When the wall clock jumps, a remembered verdict does not save an expired token."""
    desk = Desk()
    await desk.ask()
    desk.clock.set(desk.clock.now().replace(year=2026))
    with pytest.raises(AuthenticationFailed, match="the token expired at"):
        await desk.ask()


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest verdict goes."""
    monkeypatch.setattr(bearer, "MAX_VERDICTS", 2)
    desk = Desk()
    tokens = [token(jti=str(number)) for number in range(3)]
    for each in [*tokens, *tokens[1:]]:
        await desk.ask(each)
    assert desk.counted == {"fresh": 3, "cached": 2}
    await desk.ask(tokens[0])
    assert desk.counted["fresh"] == 4


@pytest.mark.parametrize("error", [AuthenticationFailed("no"), AuthenticationUnavailable("down")], ids=repr)
async def test_a_failure_is_not_remembered(error: SignerError) -> None:
    """A kubelet may be about to fix it, and an outage ends."""
    desk = Desk()
    desk.judge.switch.fault = error
    with pytest.raises(type(error)):
        await desk.ask()
    desk.judge.switch.fault = None
    assert await desk.ask() == CALLER


async def test_a_question_under_way_is_shared() -> None:
    """Five retries at once are one question."""
    desk = Desk()
    desk.judge.switch.held = True
    tasks = [desk.asking() for _ in range(5)]
    await settle()
    desk.judge.switch.opened.set()
    assert await asyncio.gather(*tasks) == [CALLER] * 5
    assert desk.judge.switch.calls == 1
    assert desk.counted == {"fresh": 1, "shared": 4}


async def test_a_shared_failure_reaches_all() -> None:
    """With the same verdict."""
    desk = Desk()
    desk.judge.switch.held, desk.judge.switch.fault = True, AuthenticationFailed("no")
    tasks = [desk.asking() for _ in range(3)]
    await settle()
    desk.judge.switch.opened.set()
    verdicts = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(verdict) for verdict in verdicts] == [AuthenticationFailed] * 3


async def test_the_first_asker_goes_away() -> None:
    """The others get their answer all the same."""
    desk = Desk()
    desk.judge.switch.held = True
    first = desk.asking()
    await desk.judge.switch.entered.wait()
    second = desk.asking()
    await settle()
    await give_up(first)
    desk.judge.switch.opened.set()
    assert await second == CALLER
    assert (first.cancelled(), desk.judge.switch.calls) == (True, 1)


async def test_all_askers_go_away() -> None:
    """The answer is kept for their retries; a failure that nobody hears is no noise."""
    desk = Desk()
    desk.judge.switch.held, desk.judge.switch.fault = True, AuthenticationFailed("no")
    only = desk.asking()
    await desk.judge.switch.entered.wait()
    await give_up(only)
    desk.judge.switch.opened.set()
    await settle()
    assert desk.judge.switch.calls == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_questions_at_once_are_bounded() -> None:
    """The API server is not flooded; whoever waits too long is told to come back."""
    desk = Desk(concurrency=1, patience=0.01)
    desk.judge.switch.held = True
    first = desk.asking()
    await desk.judge.switch.entered.wait()
    with pytest.raises(Overloaded, match="1 tokens are being judged"):
        await desk.ask(token(jti="2"))
    desk.judge.switch.opened.set()
    await first
    assert await desk.ask(token(jti="2")) == CALLER


async def test_a_failed_question_gives_its_place_back() -> None:
    """However it ends."""
    desk = Desk(concurrency=1, patience=0.01)
    desk.judge.switch.fault = AuthenticationUnavailable("down")
    for _ in range(3):
        with pytest.raises(AuthenticationUnavailable):
            await desk.ask()


async def test_close() -> None:
    """Nothing is left under way, and whoever waits is told to come back."""
    desk = Desk()
    desk.judge.switch.held = True
    task = desk.asking()
    await desk.judge.switch.entered.wait()
    await desk.authenticator.close()
    with pytest.raises(AuthenticationUnavailable, match="tokens to be judged: closed"):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Junk sent while the judge hangs is refused at once, so that callers who are known find a place."""
    monkeypatch.setattr(bearer, "QUEUE", 1)
    desk = Desk(concurrency=2)
    known = await desk.ask()
    desk.judge.switch.held = True
    asking = [desk.asking(token(jti=str(number))) for number in range(2)]
    await settle()
    with pytest.raises(Overloaded, match="tokens to be judged: 2 questions are under way"):
        await desk.ask(token(jti="one more"))
    assert await desk.ask() is known
    await give_up(*asking)
    await desk.authenticator.close()


async def test_what_is_remembered_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same token comes with every CSR of a busy caller."""
    desk, looks = Desk(), list[str]()

    def look(text: str, audiences: Collection[str], now: datetime) -> UnverifiedToken:
        looks.append(text)
        return check_shape(text, audiences, now)

    monkeypatch.setattr(shape, "check_shape", look)
    for _ in range(3):
        await desk.ask()
    assert len(looks) == 1
