"""The public keys of one issuer: how they are fetched and kept.

Whoever sends tokens chooses their key ids, so what an unknown one may cost is bounded: one fetch per cool-down, whoever
asks. Where keys could not be had, tokens are not judged; a bad key set must never look like a bad token.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from signer.authn.jwk_set import VerifyKey, parse_jwks
from signer.core.errors import AuthenticationUnavailable
from signer.core.ports import Clock
from signer.kube.answer import ApiUnavailable

# In seconds, as everything here.
# So long may a key that was published a moment ago be refused; a flood of made-up ids costs one fetch in that time.
COOLDOWN = 10.0
# So long is a key believed that was withdrawn.
MAX_AGE = 300.0
# Callers with a known key never wait.
MAX_WAITING = 64
FIRST_PAUSE = 1.0

_log = logging.getLogger("istio_signer.authn.keys")


class KeySet:
    """Keeps the keys of one issuer.

    Args:
        name: Whose keys, for the operator: ``cluster east, issuer https://example``.
        fetch: Gets the key set's document, decoded; raises ``ApiUnavailable``. Its time-out is its own.
        clock: Its monotonic hand says when to fetch.
    """

    def __init__(self, name: str, fetch: Callable[[], Awaitable[object]], clock: Clock) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, VerifyKey] = {}
        self._fault = ""
        self._pause = FIRST_PAUSE
        self._not_before = self._stale_from = clock.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0

    async def key(self, kid: str) -> VerifyKey | None:
        """Find a key; None where the issuer has none of this id.

        Raises:
            AuthenticationUnavailable: The keys could not be had, so nobody knows.
        """
        if kid in self._keys:
            # Nobody waits for it: its keys are good.
            if self._clock.monotonic() >= self._stale_from:
                self._fetching()
            return self._keys[kid]
        task = self._fetching()
        if task is not None:
            await self._wait(task)
        if kid not in self._keys and (self._fault or not self._keys):
            raise AuthenticationUnavailable(f"offline token: the issuer's keys: {self._fault or 'none were fetched'}")
        return self._keys.get(kid)

    async def _wait(self, task: asyncio.Task[None]) -> None:
        """For a fetch under way; not all may, since anybody can make up an id, and those who wait take up places."""
        if self._waiting >= MAX_WAITING:
            raise AuthenticationUnavailable(f"offline token: {MAX_WAITING} wait for the issuer's keys")
        self._waiting += 1
        try:
            await asyncio.wait((task,))
        finally:
            self._waiting -= 1
        if task.cancelled():
            raise AuthenticationUnavailable("offline token: the issuer's keys: closed, nothing is asked any more")

    def _fetching(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one where its time has come. A task of its own: its first asker may leave."""
        if self._task is not None and not self._task.done():
            return self._task
        if self._clock.monotonic() < self._not_before:
            return None
        self._task = asyncio.create_task(self._renew(), name="fetch-jwks")
        return self._task

    async def _renew(self) -> None:
        try:
            keys = parse_jwks(await self._fetch())
        except (ApiUnavailable, ValueError) as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  whatever it is, tokens of known keys must be judged on
            self._failed(type(error).__name__)
        else:
            self._took(keys)

    def _took(self, keys: dict[str, VerifyKey]) -> None:
        """Replace all: a key that is no longer published was withdrawn."""
        self._keys = keys
        if not keys:
            self._failed("the JWK set has no usable key")
            return
        if self._fault:
            _log.info("the keys of %s were fetched again", self._name)
        now = self._clock.monotonic()
        self._fault, self._pause = "", FIRST_PAUSE
        self._not_before, self._stale_from = now + COOLDOWN, now + MAX_AGE

    def _failed(self, fault: str) -> None:
        if fault != self._fault:
            _log.warning("the keys of %s could not be fetched: %s; tried again with the tokens", self._name, fault)
        self._fault = fault
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(self._pause * 2, COOLDOWN)

    @property
    def fault(self) -> str:
        """What is wrong, and what that means, for the operator; empty where nothing is."""
        if not self._fault:
            return ""
        means = "those known are believed on" if self._keys else "no token of this issuer can be judged"
        return f"keys of {self._name}: {self._fault}; {means}"

    async def close(self) -> None:
        """Stop fetching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
