"""Tokens that are judged without asking the API server: its keys, its issuer, its pods, put together."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from functools import partial
from typing import Any

from signer.authn.key_set import KeySet
from signer.config.clusters import Cluster, Issuer
from signer.core.backoff import pause_after
from signer.core.ports import Clock
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.oidc import RemoteJwks, fetch_issuer, fetch_jwks
from signer.observe.health import Note

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
        self._own = KeySet(f"cluster {cluster.id}", partial(fetch_jwks, api, timeout), clock)
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = [self._own.close]
        self._keys: MutableMapping[str, KeySet] = {i.issuer: self._keys_of(i, clock) for i in cluster.issuers}
        self.known = asyncio.Event()
        """Set once there is an issuer to accept."""
        self._fault = ""
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
        keys = KeySet(f"cluster {self._cluster}, issuer {issuer.issuer[:200]}", remote.fetch, clock)
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
                pause = pause_after(failures, _FIRST_PAUSE, _LAST_PAUSE, random.random())  # noqa: S311  spreads calls
                await asyncio.sleep(pause)
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
        self._fault = ""
        self.known.set()
        return True

    def _failed(self, fault: str) -> None:
        if fault != self._fault:
            _log.warning("cluster %s: its issuer cannot be learnt: %s; it is tried again", self._cluster, fault)
        self._fault = fault

    def notes(self) -> list[Note]:
        """Say what is wrong, with the API server's word or with anybody's keys, for the health report."""
        learning = f"issuer of cluster {self._cluster}: {self._fault}" if self._fault else ""
        faults = [learning, *(keys.fault for keys in dict.fromkeys(self._keys.values()))]
        return [Note(False, fault) for fault in faults if fault]

    async def close(self) -> None:
        """Stop fetching."""
        for close in self._closers:
            await close()
