"""One look at istiod's Secret: read it, judge it, and write what it lacks.

A write carries the version that was judged, so that a replica that leads no longer, and does not know it yet, never
overwrites what a newer leader wrote.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Protocol

from signer.core.chain import TrustBundle
from signer.core.ports import BundleSource, Clock, Leads
from signer.trust.istiod.judge import Act, Verdict, Wanted, judge
from signer.trust.istiod.secret import Manifest, new_secret, secret_manifest
from signer.trust.istiod.store import SecretStore
from signer.trust.serving import KeyPair, PairUnavailable
from signer.trust.serving_sources import ServingPlan

_log = logging.getLogger("istio_signer.istiod")
_ROOTS_SECONDS = 8.0


_KEY_TYPES = {"P-256": "p256", "RSA-2048": "rsa2048"}


def plan(wanted: Wanted, ttl: timedelta) -> ServingPlan:
    """Say what to ask a backend for, so that what is issued is what is wanted.

    Raises:
        ValueError: The key type is neither P-256 nor RSA-2048.
    """
    key_type = _KEY_TYPES.get(wanted.key_type)
    if key_type is None:
        raise ValueError(f"unknown key type {wanted.key_type!r}: use one of {', '.join(_KEY_TYPES)}")
    return ServingPlan(wanted.names, ttl, wanted.grace_ratio, key_type=key_type, purpose="istiod")


class Issues(Protocol):
    """Makes a new pair; ``signer.trust.serving_sources.FromBackend`` does."""

    async def obtain(self) -> KeyPair:
        """Issue one.

        Raises:
            PairUnavailable: There is none now.
            SignerError: The backend did not issue one.
        """
        ...


class Mender:
    """Looks once at each call; knows no time-table and no patience.

    Attributes:
        verdict: The last one, of what is in the Secret; None before the first.
        digest: Of the bundle that it was judged against.
        writes: How often it has sent a Secret to the API server.
    """

    def __init__(
        self, store: SecretStore, source: Issues, bundle: BundleSource, wanted: Wanted, clock: Clock, leads: Leads
    ) -> None:
        self.verdict: Verdict | None = None
        self.digest = ""
        self.writes = 0
        self._store = store
        self._source = source
        self._bundle = bundle
        self._wanted = wanted
        self._clock = clock
        self._leads = leads

    @property
    def outdated(self) -> bool:
        """Whether the bundle is another one than at the last look."""
        return self._bundle.current().digest != self.digest

    async def mend(self) -> bool:
        """Read, judge, mend; tell whether a new certificate was written.

        Raises:
            Conflict: Somebody else was faster.
            ApiUnavailable: The API server was no help.
            PairUnavailable: There is nothing to write, or what was written is of no use.
            SignerError: The backend did not issue.
        """
        bundle = await self._roots()
        secret = await self._store.read()
        verdict = self._judge(secret, bundle)
        if verdict.act in (Act.KEEP, Act.LEAVE):
            return False
        _log.info("Secret %s: %s", self._store.place, verdict.why)
        pair = await self._source.obtain() if verdict.act is Act.ISSUE else None
        if not self._leads.leads:
            return False
        await self._write(secret, pair)
        return pair is not None

    async def _write(self, secret: Manifest | None, pair: KeyPair | None) -> None:
        # Not the bundle of before: the source may have learnt of a new root.
        bundle = self._bundle.current()
        written = secret_manifest(secret or new_secret(self._store.place), bundle.pem, pair)
        self.writes += 1
        await self._store.write(written)
        verdict = self._judge(written, bundle)
        if verdict.act is not Act.KEEP:
            raise PairUnavailable(f"what was written will not do for long: {verdict.why}")

    def _judge(self, secret: Manifest | None, bundle: TrustBundle) -> Verdict:
        verdict = judge(secret, self._wanted, bundle, self._clock.now())
        self.verdict, self.digest = verdict, bundle.digest
        return verdict

    async def _roots(self) -> TrustBundle:
        """The bundle; asked for where none is known yet, for under no roots everything would look wrong."""
        bundle = self._bundle.current()
        if not bundle.roots:
            try:
                async with asyncio.timeout(_ROOTS_SECONDS):
                    bundle = await self._bundle.refresh()
            except TimeoutError:
                raise PairUnavailable(f"the backends' roots were not known in {_ROOTS_SECONDS:g} s") from None
        if not bundle.roots:
            raise PairUnavailable("no backend has told its roots yet")
        return bundle
