"""Where the record of a rotation lies: the ConfigMap that replicas share, or a file where there is one replica."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from signer.core.trust_record import MAX_BYTES, BadRecord, TrustRecord, decode, encode
from signer.kube.answer import Answer, ApiUnavailable, reason_of
from signer.kube.api import KubeApi
from signer.trust.bundle import LiveBundle
from signer.trust.distribution.record import KEY, RecordPlace, manifest

_log = logging.getLogger("istio_signer.trust")
_SECONDS = 10.0
INTERVAL = 2.0

Change = Callable[[TrustRecord], TrustRecord]


class StoreConflict(Exception):
    """Somebody else wrote at the same moment; read and try again."""


class StoreUnusable(Exception):
    """The record cannot be read or written; the message says why."""


class Store(Protocol):
    """Keeps one record."""

    async def read(self) -> TrustRecord:
        """Give the record, an empty one where there is none.

        Raises:
            StoreUnusable: It cannot be read.
        """
        ...

    async def update(self, change: Change) -> None:
        """Write what ``change`` makes of the record as it is; nothing where that is the same.

        Raises:
            StoreConflict: Somebody else was faster.
            StoreUnusable: It cannot be written.
        """
        ...


class ConfigMapStore:
    """The record that replicas share."""

    def __init__(self, api: KubeApi, place: RecordPlace) -> None:
        self._api = api
        self._place = place

    async def read(self) -> TrustRecord:
        """See ``Store``."""
        return (await self._get())[0]

    async def update(self, change: Change) -> None:
        """See ``Store``."""
        before, version = await self._get()
        after = change(before)
        if after == before:
            return
        body = manifest(self._place, after, version)
        if version:
            answer = await self._call("PUT", self._place.path, body)
        else:
            answer = await self._call("POST", self._place.collection, body)
        if answer.status == 409:
            raise StoreConflict
        self._check(answer)

    async def _get(self) -> tuple[TrustRecord, str]:
        answer = await self._call("GET", self._place.path, None)
        if answer.status == 404:
            return TrustRecord(), ""
        self._check(answer)
        try:
            record = decode(str((answer.body.get("data") or {}).get(KEY, "")))
        except BadRecord as error:
            raise StoreUnusable(f"ConfigMap {self._name}: holds no record: {error}") from None
        return record, str(answer.body["metadata"]["resourceVersion"])

    async def _call(self, method: str, path: str, body: dict[str, object] | None) -> Answer:
        try:
            return await self._api.call(method, path, _SECONDS, body)
        except ApiUnavailable as error:
            raise StoreUnusable(f"ConfigMap {self._name}: {error}") from None

    def _check(self, answer: Answer) -> None:
        if answer.status not in (200, 201):
            raise StoreUnusable(f"ConfigMap {self._name}: HTTP {answer.status}: {reason_of(answer)}")

    @property
    def _name(self) -> str:
        return f"{self._place.namespace}/{self._place.name}"


class FileStore:
    """A file, for one replica without a cluster; written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> TrustRecord:
        """See ``Store``."""
        return await asyncio.to_thread(self._read)

    async def update(self, change: Change) -> None:
        """See ``Store``."""
        await asyncio.to_thread(self._update, change)

    def _read(self) -> TrustRecord:
        try:
            with self._path.open("rb") as file:
                return decode(file.read(MAX_BYTES + 1).decode("utf-8"))
        except FileNotFoundError:
            return TrustRecord()
        except (OSError, UnicodeDecodeError, BadRecord) as error:
            raise StoreUnusable(f"{self._path}: {getattr(error, 'strerror', None) or error}") from None

    def _update(self, change: Change) -> None:
        try:
            with self._path.with_name(self._path.name + ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                before = self._read()
                after = change(before)
                if after != before:
                    self._write(encode(after))
        except BlockingIOError:
            raise StoreConflict from None
        except OSError as error:
            raise StoreUnusable(f"{self._path}: cannot be written: {error.strerror}") from None

    def _write(self, text: str) -> None:
        partial = self._path.with_name(self._path.name + ".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)


async def follow(store: FileStore, bundle: LiveBundle, known: asyncio.Event) -> None:
    """Have a server's bundle know what the file says, for ever; ``known`` is set once it was read."""
    told = ""
    while True:
        try:
            bundle.remember(await store.read())
            known.set()
            told = ""
        except StoreUnusable as error:
            if str(error) != told:
                told = str(error)
                _log.error("%s; what was read before stays", error)
        await asyncio.sleep(INTERVAL)
