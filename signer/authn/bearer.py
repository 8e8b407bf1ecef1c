"""Bearer tokens: a short memory of good verdicts, then shape, then the judge, asked once per token at a time."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from signer.authn.shape import MAX_TOKEN_CHARS, UnverifiedToken, carried, shaped
from signer.core.errors import AuthenticationUnavailable, Overloaded
from signer.core.ports import Clock
from signer.core.recent import Recent
from signer.core.types import Caller, Credentials
from signer.kube.asking import Asking

MAX_VERDICTS = 10_000
# A deleted pod's token must die soon; Kubernetes itself remembers a good verdict this long.
MAX_CACHE_SECONDS = 10.0
# How many wait for each that is being judged. Beyond, junk sent during an outage would fill the server for callers
# whose verdict is known.
QUEUE = 3


class Judge(Protocol):
    """Decides on one token."""

    async def judge(self, token: str) -> Caller:
        """Prove the caller.

        Raises:
            AuthenticationFailed: The token is bad.
            AuthenticationUnavailable: It could not be judged.
            Overloaded: Too many wait for somebody whom it asks.
        """
        ...


@dataclass(frozen=True, slots=True)
class BearerPolicy:
    """How bearer tokens are treated.

    Attributes:
        audiences: Those accepted.
        cache_seconds: How long a good verdict is remembered, ``MAX_CACHE_SECONDS`` at most.
        concurrency: How many tokens may be with the judge at once.
        patience: How long one may wait for its turn, in seconds.
    """

    audiences: Collection[str]
    cache_seconds: float
    concurrency: int = 64
    patience: float = 2.0


@dataclass(frozen=True, slots=True)
class _Verdict:
    caller: Caller
    until: float
    expires: datetime | None


class BearerAuthenticator:
    """Authenticates by bearer token."""

    def __init__(self, judge: Judge, policy: BearerPolicy, clock: Clock, count: Callable[[str], None]) -> None:
        self._judge = judge
        self._policy = policy
        self._clock = clock
        self._count = count
        self._verdicts: Recent[bytes, _Verdict] = Recent(MAX_VERDICTS)
        self._asking: Asking[Caller] = Asking(
            "tokens to be judged", QUEUE * policy.concurrency, Overloaded, AuthenticationUnavailable
        )
        self._places = asyncio.Semaphore(policy.concurrency)

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove the caller by its token.

        Raises:
            AuthenticationFailed: There is none, or it is bad.
            AuthenticationUnavailable: It could not be judged.
            Overloaded: Too many tokens are being judged.
        """
        return await self.judge(carried(credentials), self._shaped)

    def _shaped(self, token: str) -> UnverifiedToken:
        return shaped(token, self._policy.audiences, self._clock, self._count)

    async def judge(self, token: str, look: Callable[[str], UnverifiedToken]) -> Caller:
        """Prove the caller of a token.

        Args:
            token: As it came.
            look: Reads what it says of itself, or refuses it; not asked where the verdict is known.

        Raises:
            AuthenticationFailed: It is bad.
            AuthenticationUnavailable: It could not be judged.
            Overloaded: Too many tokens are being judged.
        """
        key = sha256(token[: MAX_TOKEN_CHARS + 1].encode("utf-8", "surrogatepass")).digest()
        known = self._recall(key)
        return known if known is not None else await self._ask(key, token, look(token))

    def _recall(self, key: bytes) -> Caller | None:
        verdict = self._verdicts.get(key)
        if verdict is None:
            return None
        ended = verdict.expires is not None and verdict.expires <= self._clock.now()
        if ended or verdict.until <= self._clock.monotonic():
            self._verdicts.forget(key)
            return None
        self._count("cached")
        return verdict.caller

    async def _ask(self, key: bytes, token: str, unverified: UnverifiedToken) -> Caller:
        if key in self._asking:
            self._count("shared")
        return await self._asking.ask(key, lambda: self._judge_one(key, token, unverified))

    async def _judge_one(self, key: bytes, token: str, unverified: UnverifiedToken) -> Caller:
        self._count("fresh")
        await self._turn()
        try:
            caller = await self._judge.judge(token)
        finally:
            self._places.release()
        self._verdicts.put(key, _Verdict(caller, self._until(), unverified.expires))
        return caller

    async def _turn(self) -> None:
        """Wait for a place, but not for long: askers leave at their deadline, and questions must not pile up."""
        try:
            async with asyncio.timeout(self._policy.patience):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(f"{self._policy.concurrency} tokens are being judged") from None

    def _until(self) -> float:
        return self._clock.monotonic() + min(self._policy.cache_seconds, MAX_CACHE_SECONDS)

    async def close(self) -> None:
        """Stop asking."""
        await self._asking.close()
