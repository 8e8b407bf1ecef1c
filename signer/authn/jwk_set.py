"""The public keys of one issuer (RFC 7517): which are good for what, and how they are fetched and kept.

Whoever sends tokens chooses their key ids, so what an unknown one may cost is bounded: one fetch per cool-down, whoever
asks. Where keys could not be had, tokens are not judged; a bad key set must never look like a bad token.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from signer.core.errors import AuthenticationUnavailable
from signer.core.ports import Clock
from signer.kube.answer import ApiUnavailable

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey

MAX_KEYS = 100
MIN_RSA_BITS = 2048
# Verification runs on the event loop, and its cost grows with the square of this.
MAX_RSA_BITS = 8192
# In seconds, as everything here.
# So long may a key that was published a moment ago be refused; a flood of made-up ids costs one fetch in that time.
COOLDOWN = 10.0
# So long is a key believed that was withdrawn.
MAX_AGE = 300.0
# Callers with a known key never wait.
MAX_WAITING = 64
FIRST_PAUSE = 1.0
# By kty and crv: the algorithms (RFC 7518, section 3.1) that a key may be for; the first one where it does not say.
_FITTING: dict[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): ("RS256", "RS384", "RS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
}
# The public members alone (RFC 7518, section 6): a private key that somebody published is no private key here.
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")
_VERIFIERS: dict[str, RSAAlgorithm | ECAlgorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512),
}

_log = logging.getLogger("istio_signer.authn.keys")


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key and the one algorithm that it is for: a token does not choose."""

    key: PublicKey
    algorithm: str

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Tell whether this key's owner signed these bytes."""
        verifier: Any = _VERIFIERS[self.algorithm]
        return verifier.verify(signed, self.key, signature) is True


def parse_jwks(document: object) -> dict[str, VerifyKey]:
    """Read a key set, by key id; keys that cannot verify tokens are skipped. Of two with one id the first counts.

    Raises:
        ValueError: It is no key set, or one of over ``MAX_KEYS`` keys.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("the document is no JWK set")
    if len(listed) > MAX_KEYS:
        raise ValueError(f"the JWK set has {len(listed)} keys; {MAX_KEYS} are allowed")
    found: dict[str, VerifyKey] = {}
    for jwk in listed:
        key, kid = _usable(jwk), jwk.get("kid") if isinstance(jwk, dict) else None
        if key is not None and isinstance(kid, str) and kid:
            found.setdefault(kid, key)
    return found


def _usable(jwk: object) -> VerifyKey | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    fitting = _FITTING.get((str(jwk.get("kty")), str(jwk.get("crv")) if jwk.get("kty") == "EC" else ""), ())
    algorithm = jwk.get("alg", fitting[0] if fitting else None)
    if algorithm not in fitting:
        return None
    try:
        key = jwt.PyJWK({name: jwk[name] for name in _PUBLIC if name in jwk}, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return VerifyKey(key, algorithm) if _strong(key) else None


def _strong(key: object) -> bool:
    if isinstance(key, RSAPublicKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey)


class KeySet:
    """Keeps the keys of one issuer.

    Args:
        fetch: Gets the key set's document, decoded; raises ``ApiUnavailable``. Its time-out is its own.
        clock: Its monotonic hand says when to fetch.
        cooldown: Seconds from a fetch to the next one that an unknown key id may cause.
        max_age: Seconds after which the keys are fetched again in the background.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[object]],
        clock: Clock,
        cooldown: float = COOLDOWN,
        max_age: float = MAX_AGE,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._cooldown = cooldown
        self._max_age = max_age
        self._keys: dict[str, VerifyKey] = {}
        self._fault = "nothing was fetched"
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
        if kid not in self._keys and self._fault:
            raise AuthenticationUnavailable(f"offline token: the issuer's keys: {self._fault}")
        return self._keys.get(kid)

    async def _wait(self, task: asyncio.Task[None]) -> None:
        """For a fetch under way; not all may, since anybody can make up an id, and those who wait take up places."""
        if self._waiting >= MAX_WAITING:
            raise AuthenticationUnavailable(f"offline token: {MAX_WAITING} wait for the issuer's keys")
        self._waiting += 1
        try:
            await asyncio.shield(task)
        finally:
            self._waiting -= 1

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
        now = self._clock.monotonic()
        self._fault, self._pause = "", FIRST_PAUSE
        self._not_before, self._stale_from = now + self._cooldown, now + self._max_age

    def _failed(self, fault: str) -> None:
        _log.warning("the issuer's keys could not be fetched: %s", fault)
        self._fault = fault
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(self._pause * 2, max(self._cooldown, FIRST_PAUSE))

    async def close(self) -> None:
        """Stop fetching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
