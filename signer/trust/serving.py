"""The signer's own TLS certificate: issued by a backend or read from files, renewed in time, swapped under load.

A renewal that fails never takes the old certificate away: it serves until it ends, and every failure is said.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from signer.core import keys
from signer.core.backoff import pause_after
from signer.core.chain import pem
from signer.core.errors import SignerError
from signer.core.ports import Clock
from signer.core.validity import Window, renewal_due
from signer.observe.logs import frames_of

_log = logging.getLogger("istio_signer.serving")
PART = "serving-certificate"
_TICK = 0.25
_FIRST_RETRY = 0.5
_LAST_RETRY = 60.0


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain with its key, ready for a TLS server.

    Attributes:
        key_pem: PKCS#8; shown to nobody but the TLS library.
        chain_pem: Leaf first, intermediates after it.
        window: Of the leaf.
    """

    key_pem: bytes = field(repr=False)
    chain_pem: bytes
    window: Window
    serial: int

    @classmethod
    def of(
        cls, key: keys.CaPrivateKey, leaf: x509.Certificate, intermediates: tuple[x509.Certificate, ...]
    ) -> "KeyPair":
        """Encode a key and its chain."""
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = "".join(map(pem, (leaf, *intermediates))).encode("ascii")
        return cls(key_pem, chain, (leaf.not_valid_before_utc, leaf.not_valid_after_utc), leaf.serial_number)


class PairUnavailable(Exception):
    """No new pair now; the message says why."""


class PairSource(Protocol):
    """Makes or finds the next pair."""

    async def obtain(self) -> KeyPair:
        """Give a pair that is good now.

        Raises:
            PairUnavailable: There is none.
            SignerError: The backend did not issue one.
        """
        ...

    def due(self, pair: KeyPair) -> datetime:
        """Tell when to ask again while ``pair`` is in use, UTC."""
        ...

    def stale(self, pair: KeyPair) -> bool:
        """Tell whether ``pair`` must go before it is due: its root is trusted no more."""
        ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """Told after each attempt: whether it worked, and the pair in use and the time of the next attempt, if any."""

    worked: bool
    pair: KeyPair | None
    due: datetime | None


class ServingCertificate:
    """Keeps the pair in use and renews it."""

    def __init__(self, source: PairSource, clock: Clock, told: Callable[[Renewal], None]) -> None:
        self._source = source
        self._clock = clock
        self._told = told
        self._pair: KeyPair | None = None
        self._due: datetime | None = None
        self._arrived = asyncio.Event()

    @property
    def pair(self) -> KeyPair | None:
        """The pair in use; None before the first one. Read at each handshake, from any thread."""
        return self._pair

    async def first(self) -> KeyPair:
        """Wait for the first pair, for as long as it takes."""
        await self._arrived.wait()
        assert self._pair is not None  # noqa: S101  the event says so
        return self._pair

    async def run(self) -> None:
        """Obtain, renew, retry, for ever. Wakes often, since a wall clock may jump while a timer sleeps."""
        failures, not_before = 0, 0.0
        while True:
            if self._is_due() and self._clock.monotonic() >= not_before:
                failures = 0 if await self.renew() else failures + 1
                not_before = self._clock.monotonic() + back_off(failures)
            await asyncio.sleep(_TICK)

    def _is_due(self) -> bool:
        pair, due = self._pair, self._due
        if pair is None or due is None:
            return True
        return self._clock.now() >= due or self._source.stale(pair)

    async def renew(self) -> bool:
        """Try to get a new pair once; say so either way."""
        try:
            pair = await self._source.obtain()
        except (SignerError, PairUnavailable) as error:
            return self._failed(str(error))
        except Exception as error:  # noqa: BLE001  a source's bug must not end what the old pair still serves
            frames = frames_of(error)
            return self._failed(f"bug: {type(error).__name__}\n{frames}")
        self._take(pair)
        return True

    def _failed(self, reason: str) -> bool:
        kept = f"the old one serves until {self._pair.window[1].isoformat()}" if self._pair else "none is in use"
        _log.error("no new serving certificate, %s: %s", kept, reason)
        self._told(Renewal(False, self._pair, None))
        return False

    def _take(self, pair: KeyPair) -> None:
        self._due = due = self._source.due(pair)
        if self._pair == pair:
            return
        end = pair.window[1].isoformat()
        _log.info("serving certificate %x in use, valid to %s, renewal at %s", pair.serial, end, due.isoformat())
        self._pair = pair
        self._arrived.set()
        self._told(Renewal(True, pair, due))


def back_off(failures: int) -> float:
    """Seconds before the next attempt, by the failures in a row: 0.5 s to a minute; none after a success."""
    if not failures:
        return 0.0
    return pause_after(failures, _FIRST_RETRY, _LAST_RETRY, random.random())  # noqa: S311  spreads, hides nothing


def due_by_ratio(pair: KeyPair, grace_ratio: float) -> datetime:
    """When a pair is renewed: by the grace ratio, a little earlier by chance."""
    return renewal_due(pair.window, grace_ratio, random.random())  # noqa: S311  spreads renewals, hides nothing
