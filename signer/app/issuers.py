"""Tokens that are judged without asking the API server: its keys, its issuer, its pods, put together."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from functools import partial
from typing import Any

from signer.authn.jwk_set import KeySet
from signer.config.model import Cluster, Issuer
from signer.core.backoff import pause_after
from signer.core.ports import Clock
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.oidc import RemoteJwks, fetch_issuer, fetch_jwks

_log = logging.getLogger("istio_signer.tokens")
# An API server gets another issuer by a restart with other flags; for so long are its new tokens refused.
_LOOK_SECONDS = 30.0
# Tokens of earlier issuers are out for hours, and the API server still takes them if it is told to.
_MAX_LEARNT = 4
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 10.0


class Issuers:
    """The accepted issuers of one cluster, and the keys of each.

    Args:
        cluster: Its settings; without issuers, the API server is asked for its own.
        api: The API server, whose own keys count where an issuer has no URL.
        timeout: Seconds for one fetch.
        clock: For the age of keys.
    """

    def __init__(self, cluster: Cluster, api: KubeApi, timeout: float, clock: Clock) -> None:
        self._cluster = cluster.id
        self._api = api
        self._timeout = timeout
        self._own = KeySet(partial(fetch_jwks, api, timeout), clock)
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = [self._own.close]
        self._keys: MutableMapping[str, KeySet] = {i.issuer: self._keys_of(i, clock) for i in cluster.issuers}
        self.known = asyncio.Event()
        """Set once there is an issuer to accept."""
        self.fault = ""
        if self._keys:
            self.known.set()

    @property
    def keys(self) -> Mapping[str, KeySet]:
        """By issuer; empty while none is known. The same mapping for ever."""
        return self._keys

    def _keys_of(self, issuer: Issuer, clock: Clock) -> KeySet:
        if issuer.jwks_uri is None:
            return self._own
        remote = RemoteJwks(issuer.jwks_uri, self._timeout, issuer.ca_file)
        keys = KeySet(remote.fetch, clock)
        self._closers += [keys.close, remote.close]
        return keys

    async def run(self) -> None:
        """Learn the API server's own issuer, and notice another one, for ever: where none was given."""
        failures = 0
        while True:
            if await self._learn():
                failures = 0
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                await asyncio.sleep(pause_after(failures, _FIRST_PAUSE, _LAST_PAUSE, random.random()))  # noqa: S311  spreads, hides nothing
                failures += 1

    async def _learn(self) -> bool:
        try:
            issuer = await fetch_issuer(self._api, self._timeout)
        except ApiUnavailable as error:
            self._failed(str(error))
            return False
        if issuer not in self._keys:
            self._keys[issuer] = self._own
            if len(self._keys) > _MAX_LEARNT:
                del self._keys[next(iter(self._keys))]
            _log.info("cluster %s: tokens of issuer %s are judged offline", self._cluster, ascii(issuer)[:200])
        self.fault = ""
        self.known.set()
        return True

    def _failed(self, fault: str) -> None:
        if fault != self.fault:
            _log.warning("cluster %s: its issuer cannot be learnt: %s; it is tried again", self._cluster, fault)
        self.fault = fault

    async def close(self) -> None:
        """Stop fetching."""
        for close in self._closers:
            await close()
