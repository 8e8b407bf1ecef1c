"""The token of one backend: one login for all who wait, renewed or replaced at two thirds of its life, and on a 403."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial

from backends.patience import Hanging, PatientThread
from backends.vault.login import Lease, LoginFailed, log_in, renew
from backends.vault.retired import RetiredTokens
from backends.vault.settings import VaultSettings
from signer.core.backoff import pause_after
from signer.core.errors import BackendUnavailable
from signer.core.events import BackendEvent, BackendMoment
from signer.core.spec import BackendContext
from signer.core.types import Secret

_log = logging.getLogger("istio_signer.backend.vault")
LOGIN_SECONDS = 5.0
# A thread may spend its time-out more than once: connecting, reading, a second step.
THREAD_SECONDS = 8.0
CLOSE_SECONDS = 2.0
# A 403 costs a login at most this often: where the policy is against us, new tokens do not help.
SUSPICION_SECONDS = 3.0
_FIRST_RETRY = 0.5
_LAST_RETRY = 30.0
_TICK = 0.5


class VaultSession:
    """Keeps a token."""

    def __init__(self, settings: VaultSettings, context: BackendContext) -> None:
        self._settings = settings
        self._context = context
        self._clock = context.clock
        self._thread = PatientThread(THREAD_SECONDS)
        self._lease: Lease | None = None
        self._since = 0.0
        self._suspected = float("-inf")
        self._retired = RetiredTokens(settings, context)
        self._work: asyncio.Task[None] | None = None
        self._fault = ""
        self._failures = 0
        self._not_before = 0.0
        self._closed = False

    async def token(self) -> Secret:
        """Give a token, logging in first where there is none.

        Raises:
            BackendUnavailable: No login works now.
        """
        if self._lease is None:
            await self._logged_in()
        if self._lease is None:
            raise BackendUnavailable(f"no login to Vault: {self._fault}")
        return self._lease.token

    def rejected(self, token: Secret) -> bool:
        """Take note of a 403; tell whether another try with a new token makes sense."""
        lease, now = self._lease, self._clock.monotonic()
        if lease is None or lease.token is not token:
            return True
        if now - self._suspected < SUSPICION_SECONDS:
            return False
        self._suspected = now
        # It may be well, and the policy against us: then it would live on with nobody to know it.
        self._retired.add(lease)
        self._lease = None
        return True

    @property
    def fault(self) -> str:
        """Why there is no token; empty while there is one."""
        return "" if self._lease is not None else self._fault or "not logged in yet"

    async def run(self) -> None:
        """Keep the token fresh for ever."""
        while True:
            await self.tend()
            await self._retired.give_due()
            await asyncio.sleep(_TICK)

    async def tend(self) -> None:
        """Do what is due now."""
        if self._lease is None:
            await self._logged_in()
        elif self._is_due(self._lease):
            await self._shared(partial(self._refresh, self._lease))

    async def close(self) -> None:
        """Give all tokens back, if there is time."""
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._work is not None:
                    # A login that nobody waits for would leave a token behind.
                    await asyncio.wait({self._work})
                if self._lease is not None:
                    self._retired.add(self._lease)
                    self._lease = None
                await self._retired.give_all()
        except TimeoutError:
            _log.info("backend %s: a token was not given back; it ends by itself", self._context.name)
        self._lease, self._fault = None, "the backend is closed"
        if self._work is not None:
            self._work.cancel()

    def _is_due(self, lease: Lease) -> bool:
        now = self._clock.monotonic()
        return lease.seconds > 0 and now >= max(self._since + lease.seconds * 2 / 3, self._not_before)

    async def _logged_in(self) -> None:
        """Wait for a token: of the login or renewal under way, or else of a new login."""
        if self._work is not None:
            await asyncio.shield(self._work)
        may_start = not self._closed and self._clock.monotonic() >= self._not_before
        if self._lease is None and (self._work is not None or may_start):
            await self._shared(self._attempt)

    async def _shared(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Join the work under way, or start this; waiters who go away leave it to the others."""
        if self._work is None:
            self._work = asyncio.create_task(work())
            self._work.add_done_callback(self._work_done)
        await asyncio.shield(self._work)

    def _work_done(self, _: "asyncio.Task[None]") -> None:
        self._work = None

    async def _refresh(self, lease: Lease) -> None:
        """Prolong the lease; where that gives nothing, log in anew. The old token serves meanwhile."""
        if lease.renewable and await self._prolonged(lease):
            return
        await self._attempt()

    async def _prolonged(self, lease: Lease) -> bool:
        try:
            fresh = await self._thread.do(lambda: renew(self._settings, lease, LOGIN_SECONDS))
        except (LoginFailed, Hanging):
            return False
        except Exception:  # noqa: BLE001  hvac's inside; a new login will tell what is wrong
            return False
        # Near its maximum a token is "renewed" for what is left of it: no gain.
        if fresh.seconds < lease.seconds * 2 / 3 or self._lease is not lease:
            return False
        self._take(fresh, BackendEvent.LEASE_RENEWED)
        return True

    async def _attempt(self) -> None:
        """Log in once; a failure is remembered for a while, so that requests fail fast instead of queueing up."""
        try:
            lease = await self._thread.do(lambda: log_in(self._settings, LOGIN_SECONDS))
        except (LoginFailed, Hanging) as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  hvac's inside; its text may quote a credential
            self._failed(f"bug: {type(error).__name__}")
        else:
            self._take(lease, BackendEvent.LOGIN)
            _log.info("backend %s: logged in to Vault for %s", self._context.name, _span(lease))

    def _take(self, lease: Lease, event: BackendEvent) -> None:
        old = self._lease
        if old is not None and old.token is not lease.token:
            self._retired.add(old)
        self._lease, self._since = lease, self._clock.monotonic()
        self._failures, self._fault, self._not_before = 0, "", 0.0
        self._context.meter.count(event)
        if lease.seconds > 0:
            end = self._clock.now() + timedelta(seconds=lease.seconds)
            self._context.meter.mark(BackendMoment.LEASE_END, end)

    def _failed(self, fault: str) -> None:
        if fault != self._fault:
            _log.error("backend %s: %s", self._context.name, fault)
        self._fault = fault
        self._failures += 1
        pause = pause_after(self._failures, _FIRST_RETRY, _LAST_RETRY, random.random())  # noqa: S311  spreads retries
        self._not_before = self._clock.monotonic() + pause
        self._context.meter.count(BackendEvent.LOGIN_FAILED)
        self._drop_if_ended()

    def _drop_if_ended(self) -> None:
        lease = self._lease
        if lease is not None and lease.seconds > 0 and self._clock.monotonic() >= self._since + lease.seconds:
            self._lease = None


def _span(lease: Lease) -> str:
    return f"{timedelta(seconds=lease.seconds)}" if lease.seconds else "ever"
