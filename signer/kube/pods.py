"""Pods and service accounts as far as identities need them: who runs as what, where, and until when."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from urllib.parse import quote

from signer.kube.answer import ApiUnavailable, Manifest
from signer.kube.api import KubeApi
from signer.kube.asking import Asking
from signer.kube.collection import GET_SECONDS, PAGE, Collection
from signer.kube.listing import Gone, pages_of
from signer.kube.table import Table

MAX_NODES_ASKED = 16
# A pod in one of these never runs again.
FINISHED = frozenset({"Succeeded", "Failed"})
Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    Attributes:
        node: Where it runs; empty while it is not scheduled.
        finished: Whether all its containers have ended for good.
        ends: Its ``deletionTimestamp``, Unix seconds: by then it should be gone. None while nobody has deleted it.
        labels: Its labels, sorted by key; None where nobody needs them.
    """

    namespace: str
    name: str
    uid: str
    service_account: str
    node: str
    finished: bool = False
    ends: float | None = None
    labels: Labels | None = None

    def lives(self, now: float) -> bool:
        """Whether it may be running at ``now``, Unix seconds: a pod that was told to end lives through its grace."""
        return not self.finished and (self.ends is None or now < self.ends)


@dataclass(frozen=True, slots=True)
class Account:
    """One service account; ``ends`` as for pods."""

    namespace: str
    name: str
    uid: str
    ends: float | None = None


def pod_of(item: Manifest, labelled: bool = False) -> Pod:
    """Take what is needed of a pod's manifest, of its labels where they are ``labelled``. What many share is kept once.

    Raises:
        KeyError, TypeError, ValueError: It is no pod's.
    """
    metadata, spec = item["metadata"], item["spec"]
    return Pod(
        sys.intern(metadata["namespace"]),
        metadata["name"],
        metadata["uid"],
        sys.intern(spec.get("serviceAccountName") or ""),
        sys.intern(spec.get("nodeName") or ""),
        (item.get("status") or {}).get("phase") in FINISHED,
        _end(metadata),
        labels_of(metadata) if labelled else None,
    )


def labels_of(metadata: Manifest) -> Labels:
    """Take the labels of an object, sorted by key; what is no text is left out."""
    labels = metadata.get("labels")
    texts = labels.items() if isinstance(labels, dict) else ()
    return tuple(sorted((sys.intern(key), sys.intern(value)) for key, value in texts if isinstance(value, str)))


def account_of(item: Manifest) -> Account:
    """Take what is needed of a service account's manifest.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    metadata = item["metadata"]
    return Account(sys.intern(metadata["namespace"]), sys.intern(metadata["name"]), metadata["uid"], _end(metadata))


def _end(metadata: Manifest) -> float | None:
    text = metadata.get("deletionTimestamp")
    return None if text is None else datetime.fromisoformat(text).timestamp()


class Places(Table[Pod]):
    """Pods, and who runs on which node."""

    def __init__(self) -> None:
        super().__init__()
        # Counted, and only the few that are ending by name: a set for each of a hundred thousand would cost more than
        # all else that is known of them.
        self._running: dict[tuple[str, str, str], int] = {}
        self._ending: dict[tuple[str, str, str], dict[str, float]] = {}

    def has(self, key: tuple[str, str, str], now: float) -> bool:
        """Tell whether one lives at a node, namespace and account."""
        return key in self._running or any(now < end for end in self._ending.get(key, {}).values())

    def _added(self, fact: Pod) -> None:
        if fact.finished or not fact.node:
            return
        key = _place(fact)
        if fact.ends is None:
            self._running[key] = self._running.get(key, 0) + 1
        else:
            self._ending.setdefault(key, {})[fact.name] = fact.ends

    def _removed(self, fact: Pod) -> None:
        if fact.finished or not fact.node:
            return
        key = _place(fact)
        if fact.ends is not None:
            _drop(self._ending, key, fact.name)
        elif self._running[key] > 1:
            self._running[key] -= 1
        else:
            del self._running[key]


class Pods(Collection[Pod]):
    """All pods of a cluster, and who runs on which node; with their labels, where ``labelled`` says so at the time."""

    _known: Places

    def __init__(self, api: KubeApi, patience: float = 0.5, labelled: Callable[[], bool] = lambda: False) -> None:
        super().__init__(api, "pods", lambda item: pod_of(item, labelled()), patience, Places)
        self._asking_nodes: Asking[list[Pod]] = Asking("pods of a node", MAX_NODES_ASKED)

    def runs_on(self, node: str, namespace: str, service_account: str, now: float) -> bool:
        """Tell whether a live pod of a service account is on a node at ``now``, Unix seconds. O(1) but for pods that
        are ending."""
        return self._known.has((node, namespace, service_account), now)

    async def comes_to(self, node: str, namespace: str, service_account: str, now: float, seconds: float) -> bool:
        """Wait ``seconds`` at most until ``runs_on`` holds."""
        key = (node, namespace, service_account)
        return bool(await self._waiters.until(key, lambda: self.runs_on(*key, now) or None, seconds))

    async def are_on(self, node: str, namespace: str, service_account: str, now: float) -> bool:
        """Ask the API server what ``runs_on`` tells from memory, for when that is about to be a refusal.

        Raises:
            ApiUnavailable: It did not say.
        """
        key = (node, namespace, service_account)
        there = await self._asking_nodes.ask(key, lambda: self._listed_on(node, namespace))
        found = any(_place(pod) == key and not pod.finished and pod.lives(now) for pod in there)
        if found:
            self.watch.restart("pods have come")
        return found

    async def _listed_on(self, node: str, namespace: str) -> list[Pod]:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
        selector = {"fieldSelector": f"spec.nodeName={node}"}
        try:
            async with asyncio.timeout(GET_SECONDS), aclosing(pages_of(self._api, path, selector, PAGE, 0.0)) as pages:
                return [pod_of(item) async for items, _ in pages for item in items]
        except TimeoutError:
            raise ApiUnavailable(f"pods: no answer within {GET_SECONDS:g} s") from None
        except Gone:
            raise ApiUnavailable("pods: the list has changed while it was read") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ApiUnavailable("pods: the answer is no list of pods") from None

    async def close(self) -> None:
        """Stop asking, and know nothing more."""
        await super().close()
        await self._asking_nodes.close()

    def _keys(self, fact: Pod) -> tuple[object, ...]:
        return (_place(fact),)


def _place(pod: Pod) -> tuple[str, str, str]:
    return pod.node, pod.namespace, pod.service_account


def _drop(ending: dict[tuple[str, str, str], dict[str, float]], key: tuple[str, str, str], name: str) -> None:
    names = ending[key]
    del names[name]
    if not names:
        del ending[key]


class Accounts(Collection[Account]):
    """All service accounts of a cluster."""

    def __init__(self, api: KubeApi, patience: float = 0.5) -> None:
        super().__init__(api, "serviceaccounts", account_of, patience)
