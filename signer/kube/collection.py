"""A collection of the API server, known from one watch: small facts of each object, by namespace and name.

An object is looked for by its name and its UID: the name may be another one's by now, and a UID never comes back. What
the watch does not know yet is waited for a moment and then asked for, so that a watch that lags is no refusal.
"""

import math
import time
from collections.abc import Callable
from typing import Generic
from urllib.parse import quote

from signer.core.recent import Recent
from signer.kube.answer import OBJECT_BYTES, ApiUnavailable, Manifest, is_not_found, reason_of
from signer.kube.api import KubeApi
from signer.kube.asking import Asking
from signer.kube.gathering import Gathering
from signer.kube.table import F, Successor, Table
from signer.kube.waiting import Waiters
from signer.kube.watch import Watch

MAX_GONE = 10_000
MAX_ASKED = 256
GET_SECONDS = 3.0
# Parsing a page stalls all requests: some 16 ms for so many pods.
PAGE = 200


class Vanished(Exception):
    """There is no such object, and there never will be: its UID is gone."""


class Collection(Generic[F]):
    """Follows all objects of one kind.

    Args:
        api: The API server.
        plural: The kind's plural in ``/api/v1``.
        fact: Takes of a manifest what is kept; raises KeyError, TypeError or ValueError where it is none.
        patience: Seconds that an object which is not known is waited for before the API server is asked for it.
        table: Makes an empty table.
    """

    def __init__(
        self,
        api: KubeApi,
        plural: str,
        fact: Callable[[Manifest], F],
        patience: float = 0.5,
        table: Callable[[], Table[F]] = Table,
    ) -> None:
        self._api = api
        self._plural = plural
        self._fact = fact
        self._patience = patience
        self._table = table
        self._known = table()
        self._gone: Recent[str, None] = Recent(MAX_GONE)
        self._waiters = Waiters()
        self._asking: Asking[F | None] = Asking(plural, MAX_ASKED)
        self._closed = False
        self.watch = Watch(api, f"/api/v1/{plural}", {}, self, page=PAGE)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def synced(self) -> bool:
        """Whether everything was listed once."""
        return self.watch.synced.is_set()

    def stale_for(self) -> float:
        """Seconds for which the watch has been broken, or everything is being listed; 0 while it works. Without end
        once it is closed."""
        if self._closed:
            return math.inf
        since = [at for at in (self.watch.broken_since, self.watch.listing_since) if at is not None]
        return max(0.0, time.monotonic() - min(since)) if since else 0.0

    def disbelief(self, tolerance: float) -> str:
        """Say why what is known counts no longer, for ``tolerance`` seconds have passed without a watch; empty while it
        does."""
        stale = self.stale_for()
        return f"not watched for {stale:.0f} s: {self.watch.fault}" if self.synced and stale > tolerance else ""

    def get(self, namespace: str, name: str) -> F | None:
        """Give what is known now, from memory."""
        return self._known.get(namespace, name)

    async def resolve(self, namespace: str, name: str, uid: str, ready: Callable[[F], bool] = lambda _: True) -> F:
        """Find one very object.

        Args:
            namespace: Its namespace.
            name: Its name.
            uid: Its UID.
            ready: Whether what is known of it is enough; if not, it is waited and asked for as if it were not known.

        Raises:
            Vanished: It is gone, or another one has its name.
            ApiUnavailable: It is not known, and the API server did not say.
        """

        def known() -> F | None:
            found = self.get(namespace, name)
            return found if found is not None and found.uid == uid and ready(found) else None

        found = known()
        if found is None and uid in self._gone:
            raise Vanished(f"{self._plural}: {name[:80]!a} with this uid is gone")
        return (
            found
            or await self._waiters.until((namespace, name), known, self._patience)
            or await self._ask(namespace, name, uid)
        )

    async def _ask(self, namespace: str, name: str, uid: str) -> F:
        # With the uid: an answer from before another one of the name was made says nothing of that.
        found = await self._asking.ask((namespace, name, uid), lambda: self._read(namespace, name))
        if found is None or found.uid != uid:
            self._gone.put(uid, None)
            raise Vanished(f"{self._plural}: there is no {name[:80]!a} with this uid")
        self.watch.restart(f"{self._plural} have changed")
        return found

    async def _read(self, namespace: str, name: str) -> F | None:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/{self._plural}/{quote(name, safe='')}"
        answer = await self._api.call("GET", path, GET_SECONDS, limit=OBJECT_BYTES)
        if is_not_found(answer, name):
            return None
        if answer.status != 200:
            raise ApiUnavailable(f"{self._plural}: HTTP {answer.status}: {reason_of(answer)}")
        try:
            return self._fact(answer.body)
        except (KeyError, TypeError, ValueError):
            raise ApiUnavailable(f"{self._plural}: the answer is not what was asked for") from None

    def gathering(self) -> Gathering:
        """Take a list into a table beside the one in use. UIDs that are gone by then are found so when asked for."""
        return Successor(self._known, self._table(), self._fact, self._replace)

    def _replace(self, table: Table[F]) -> None:
        self._known = table
        self._waiters.wake_all()

    def changed(self, kind: str, item: Manifest) -> None:
        """Take one event."""
        fact = self._fact(item)
        if kind == "DELETED":
            self._known.remove(fact.namespace, fact.name)
            self._gone.put(fact.uid, None)
        else:
            self._known.put(fact)
            self._gone.forget(fact.uid)
        self._waiters.wake((fact.namespace, fact.name), *self._keys(fact))

    def _keys(self, fact: F) -> tuple[object, ...]:
        """More keys whose waiters an object wakes."""
        return ()

    async def close(self) -> None:
        """Stop asking, and know nothing more."""
        self._closed = True
        await self._asking.close()
