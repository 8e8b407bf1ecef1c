"""Keeps istiod's Secret current while this replica leads: when to look, what to do where that fails, what to say."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Literal

from signer.core.errors import SignerError
from signer.core.ports import BundleSource, Clock, Leads
from signer.kube.answer import ApiUnavailable
from signer.observe.logs import frames_of
from signer.trust.istiod.judge import Act, Verdict, Wanted
from signer.trust.istiod.mender import Issues, Mender
from signer.trust.istiod.store import Conflict, SecretStore
from signer.trust.serving import PairUnavailable, back_off

_log = logging.getLogger("istio_signer.istiod")
_TICK = 0.25
# So long are changes gathered: a Secret that somebody changes all the time is not read as often.
_LULL = 0.05
# After a bug in the watch, in seconds.
_REST = 10.0
# A watch that is broken, or forbidden, must not hide a deletion for ever.
LOOK_AGAIN = 60.0
# Whoever writes the same Secret, as a GitOps tool may, is not answered without end.
WRITES, WRITES_SECONDS = 10, 60.0


@dataclass(frozen=True, slots=True)
class News:
    """Told after each look, and with nothing in it when this replica leads no longer.

    Attributes:
        result: Of a renewal, or of an attempt that failed; None where there was nothing to renew.
        end: When the certificate in the Secret ends, where there is a good one.
        due: When that is renewed.
    """

    result: Literal["success", "failure"] | None = None
    end: datetime | None = None
    due: datetime | None = None


@dataclass(slots=True)
class _Term:
    """What is known while leading; forgotten with the end of it.

    Attributes:
        restless: Whether something has happened since the last look, or that did not settle things.
        not_before: No look before this moment, monotonic seconds.
        again: A look at this moment whatever happens, monotonic seconds.
        writes: When the last ones were, monotonic seconds.
        told: What was said of a Secret that is not ours.
    """

    mender: Mender
    restless: bool = True
    failures: int = 0
    not_before: float = 0.0
    again: float = 0.0
    writes: deque[float] = field(default_factory=lambda: deque(maxlen=WRITES))
    told: str = ""


class IstiodCertificate:
    """The service. ``run`` never returns and never raises.

    Args:
        store: The Secret at its API server.
        source: Issues certificates for the names wanted.
        bundle: The roots of now.
        wanted: What the Secret must hold.
        clock: Time.
        leads: Whether this replica leads.
        told: Told of each look; must not raise.
    """

    def __init__(
        self,
        store: SecretStore,
        source: Issues,
        bundle: BundleSource,
        wanted: Wanted,
        clock: Clock,
        leads: Leads,
        told: Callable[[News], None],
    ) -> None:
        self._store = store
        self._place = store.place
        self._new_mender = partial(Mender, store, source, bundle, wanted, clock, leads)
        self._clock = clock
        self._leads = leads
        self._told = told
        self._rung = asyncio.Event()

    async def run(self) -> None:
        """Serve whenever this replica leads, for ever."""
        while True:
            if self._leads.leads:
                await self._serve()
            await asyncio.sleep(_TICK)

    async def _serve(self) -> None:
        """Serve until leading ends, or the watch does, which only a bug ends."""
        term = _Term(self._new_mender())
        watching = asyncio.create_task(self._store.watch(self._rung.set).run(), name="istiod-secret-watch")
        try:
            while self._leads.leads and not watching.done():
                if self._must_look(term):
                    await self._look(term)
                await self._tick(term)
        finally:
            watching.cancel()
            (ended,) = await asyncio.gather(watching, return_exceptions=True)
            self._told(News())
        if isinstance(ended, Exception):
            frames = frames_of(ended)
            _log.error("the watch of Secret %s: bug: %s\n%s", self._place, type(ended).__name__, frames)
            await asyncio.sleep(_REST * random.uniform(0.5, 1.0))  # noqa: S311  spreads, hides nothing

    async def _tick(self, term: _Term) -> None:
        """Wake at a change, and often besides: a wall clock may jump while a timer sleeps."""
        try:
            async with asyncio.timeout(_TICK):
                await self._rung.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_LULL)
        self._rung.clear()
        term.restless = True

    def _must_look(self, term: _Term) -> bool:
        monotonic, verdict = self._clock.monotonic(), term.mender.verdict
        if monotonic < term.not_before:
            return False
        due = verdict is not None and verdict.due is not None and self._clock.now() >= verdict.due
        return term.restless or due or monotonic >= term.again or term.mender.outdated

    async def _look(self, term: _Term) -> None:
        """Look once, and mend what is to be mended; say so either way."""
        writes = term.mender.writes
        try:
            issued = await term.mender.mend()
        except Conflict:
            _log.info("Secret %s was written by somebody else in the meantime; it is looked at again", self._place)
            term.restless, term.not_before = True, self._clock.monotonic() + _short()
        except ApiUnavailable as error:
            self._failed(term, str(error), error.retry_after)
        except (SignerError, PairUnavailable) as error:
            self._failed(term, str(error))
        except Exception as error:  # noqa: BLE001  a bug here must not end what serves proxies
            frames = frames_of(error)
            self._failed(term, f"bug: {type(error).__name__}\n{frames}")
        else:
            self._settled(term, issued)
        if term.mender.writes > writes:
            self._pace(term)

    def _settled(self, term: _Term, issued: bool) -> None:
        verdict, monotonic = term.mender.verdict, self._clock.monotonic()
        if verdict is None or not self._leads.leads:
            return
        if verdict.act is Act.LEAVE:
            self._left(term, verdict.why)
        else:
            self._say(verdict, issued)
        term.restless, term.failures, term.not_before = False, 0, monotonic
        term.again = monotonic + LOOK_AGAIN * random.uniform(0.8, 1.0)  # noqa: S311  spreads, hides nothing

    def _say(self, verdict: Verdict, issued: bool) -> None:
        if issued and verdict.end and verdict.due:
            end, due = verdict.end.isoformat(), verdict.due.isoformat()
            _log.info("Secret %s holds a new certificate, valid to %s, renewal at %s", self._place, end, due)
        self._told(News("success" if issued else None, verdict.end, verdict.due))

    def _left(self, term: _Term, why: str) -> None:
        """Say once that a Secret is not ours."""
        if term.told == why:
            return
        term.told = why
        what_to_do = "delete it, or set istiod.adopt to true, or istiod.enabled to false"
        _log.error("Secret %s is left alone: %s; %s", self._place, why, what_to_do)
        self._told(News("failure"))

    def _failed(self, term: _Term, reason: str, retry_after: float = 0.0) -> None:
        verdict, now = term.mender.verdict or Verdict(Act.ISSUE), self._clock.now()
        level = logging.ERROR if _late(verdict, now) else logging.WARNING
        _log.log(level, "Secret %s: %s; %s; it is tried again", self._place, reason, _kept(term.mender.verdict))
        term.restless, term.failures = True, term.failures + 1
        term.not_before = self._clock.monotonic() + max(back_off(term.failures), retry_after)
        self._told(News("failure", verdict.end, verdict.due))

    def _pace(self, term: _Term) -> None:
        """Rest for a while where the Secret was written all too often of late."""
        now, writes = self._clock.monotonic(), term.writes
        writes.append(now)
        if len(writes) == WRITES and now - writes[0] < WRITES_SECONDS:
            term.not_before = max(term.not_before, writes[0] + WRITES_SECONDS)
            _log.error("Secret %s is written too often: by whom else? It is left for a while", self._place)


def _late(verdict: Verdict, now: datetime) -> bool:
    """Whether somebody must act: no certificate serves, or over half of the time between due and end is gone."""
    if verdict.due is None or verdict.end is None:
        return True
    return now > verdict.due + (verdict.end - verdict.due) / 2


def _kept(verdict: Verdict | None) -> str:
    if verdict is None:
        return "what it holds is not known"
    return f"its certificate serves until {verdict.end.isoformat()}" if verdict.end else "it holds none that is good"


def _short() -> float:
    return random.uniform(0.02, 0.1)  # noqa: S311  spreads retries, hides nothing
