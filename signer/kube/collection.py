"""A collection of the API server, known from one watch: small facts of each object, by namespace and name.

An object is looked for by its name and its UID: the name may be another one's by now, and a UID never comes back. What
the watch does not know yet is waited for a moment and then asked for, so that a watch that lags is no refusal.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.watch import Manifest, Watch, reason_of

MAX_GONE = 10_000
MAX_ASKED = 256
GET_SECONDS = 3.0


class Fact(Protocol):
    """What every object has."""

    @property
    def namespace(self) -> str:
        """Its namespace."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def uid(self) -> str:
        """Its ``metadata.uid``."""
        ...


F = TypeVar("F", bound=Fact)
H = TypeVar("H")


class Vanished(Exception):
    """There is no such object, and there never will be: its UID is gone."""


class Collection(Generic[F]):
    """Follows all objects of one kind.

    Args:
        api: The API server.
        plural: The kind's plural in ``/api/v1``.
        fact: Takes of a manifest what is kept; raises KeyError, TypeError or ValueError where it is none.
        patience: Seconds that an object which is not known is waited for before the API server is asked for it.
    """

    def __init__(self, api: KubeApi, plural: str, fact: Callable[[Manifest], F], patience: float = 0.5) -> None:
        self._api = api
        self._plural = plural
        self._fact = fact
        self._patience = patience
        self._known: dict[str, dict[str, F]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._waiting: dict[object, set[asyncio.Event]] = {}
        self._asked: dict[tuple[str, str], asyncio.Task[F | None]] = {}
        self.watch = Watch(api, f"/api/v1/{plural}", {}, self, slim=fact)

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    @property
    def synced(self) -> bool:
        """Whether everything was listed once."""
        return self.watch.synced.is_set()

    def stale_for(self) -> float:
        """Seconds for which the watch has been broken; 0 while it works."""
        since = self.watch.broken_since
        return 0.0 if since is None else max(0.0, time.monotonic() - since)

    def get(self, namespace: str, name: str) -> F | None:
        """Give what is known now, from memory."""
        return self._known.get(namespace, {}).get(name)

    async def resolve(self, namespace: str, name: str, uid: str) -> F:
        """Find one very object.

        Raises:
            Vanished: It is gone, or another one has its name.
            ApiUnavailable: It is not known, and the API server did not say.
        """
        if uid in self._gone:
            raise Vanished(f"{self._plural}: {name[:80]!a} with this uid is gone")
        known = self._match(namespace, name, uid) or await self._awaited(namespace, name, uid)
        if known is None:
            known = await self._ask(namespace, name)
        if known is None or known.uid != uid:
            self._forget_uid(uid)
            raise Vanished(f"{self._plural}: there is no {name[:80]!a} with this uid")
        return known

    def _match(self, namespace: str, name: str, uid: str) -> F | None:
        known = self.get(namespace, name)
        return known if known is not None and known.uid == uid else None

    async def _awaited(self, namespace: str, name: str, uid: str) -> F | None:
        return await self.until((namespace, name), lambda: self._match(namespace, name, uid), self._patience)

    async def until(self, key: object, found: Callable[[], H | None], seconds: float) -> H | None:
        """Wait until ``found`` gives something, asked whenever an object of ``key`` changes; None when it is late."""
        with self._waiter(key) as changed:
            try:
                async with asyncio.timeout(seconds):
                    while (hit := found()) is None:
                        await changed.wait()
                        changed.clear()
                    return hit
            except TimeoutError:
                return None

    @contextmanager
    def _waiter(self, key: object) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        waiting = self._waiting.setdefault(key, set())
        waiting.add(changed)
        try:
            yield changed
        finally:
            waiting.discard(changed)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    async def _ask(self, namespace: str, name: str) -> F | None:
        """Share a question under way; it is a task of its own, since its first asker may go away."""
        task = self._asked.get((namespace, name))
        if task is None:
            if len(self._asked) >= MAX_ASKED:
                raise ApiUnavailable(f"{self._plural}: {MAX_ASKED} are being asked for")
            task = asyncio.create_task(self._read(namespace, name), name=f"read-{self._plural}")
            self._asked[namespace, name] = task
            task.add_done_callback(lambda done: self._answered((namespace, name), done))
        return await asyncio.shield(task)

    def _answered(self, key: tuple[str, str], task: "asyncio.Task[F | None]") -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()

    async def _read(self, namespace: str, name: str) -> F | None:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/{self._plural}/{quote(name, safe='')}"
        answer = await self._api.call("GET", path, GET_SECONDS)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise ApiUnavailable(f"{self._plural}: HTTP {answer.status}: {reason_of(answer)}")
        try:
            return self._fact(answer.body)
        except (KeyError, TypeError, ValueError):
            raise ApiUnavailable(f"{self._plural}: the answer is not what was asked for") from None

    def listed(self, objects: list[F]) -> None:
        """Take all objects in place of what was known. UIDs that are gone meanwhile are found so when asked for."""
        self._known = {}
        self._cleared()
        for fact in objects:
            self._put(fact)
        for waiting in self._waiting.values():
            _wake(waiting)

    def changed(self, kind: str, item: Manifest) -> None:
        """Take one event."""
        fact = self._fact(item)
        if kind == "DELETED":
            self._remove(fact.namespace, fact.name)
            self._forget_uid(fact.uid)
        else:
            self._put(fact)
        for key in ((fact.namespace, fact.name), *self._keys(fact)):
            _wake(self._waiting.get(key, ()))

    def _put(self, fact: F) -> None:
        self._remove(fact.namespace, fact.name)
        self._known.setdefault(fact.namespace, {})[fact.name] = fact
        self._added(fact)

    def _remove(self, namespace: str, name: str) -> None:
        names = self._known.get(namespace)
        old = names.pop(name, None) if names else None
        if names is not None and not names:
            del self._known[namespace]
        if old is not None:
            self._removed(old)

    def _forget_uid(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)

    def _keys(self, fact: F) -> tuple[object, ...]:
        """More keys whose waiters an object wakes."""
        return ()

    def _cleared(self) -> None:
        """Drop every index: all objects come anew."""

    def _added(self, fact: F) -> None:
        """Index an object."""

    def _removed(self, fact: F) -> None:
        """Take an object out of the index."""

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _wake(waiting: Iterable[asyncio.Event]) -> None:
    for changed in waiting:
        changed.set()
