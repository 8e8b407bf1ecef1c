"""Pods and service accounts as far as identities need them: who runs as what, where, and until when."""

import sys
from dataclasses import dataclass
from datetime import datetime

from signer.kube.api import KubeApi
from signer.kube.collection import Collection
from signer.kube.watch import Manifest

# A pod in one of these never runs again.
FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    Attributes:
        node: Where it runs; empty while it is not scheduled.
        finished: Whether all its containers have ended for good.
        ends: Its ``deletionTimestamp``, Unix seconds: by then it should be gone. None while nobody has deleted it.
    """

    namespace: str
    name: str
    uid: str
    service_account: str
    node: str
    finished: bool = False
    ends: float | None = None

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


def pod_of(item: Manifest) -> Pod:
    """Take what is needed of a pod's manifest. What many pods share is kept once.

    Raises:
        KeyError, TypeError, ValueError: It is no pod's.
    """
    metadata, spec = item["metadata"], item["spec"]
    return Pod(
        sys.intern(metadata["namespace"]),
        metadata["name"],
        metadata["uid"],
        sys.intern(spec.get("serviceAccountName") or "default"),
        sys.intern(spec.get("nodeName") or ""),
        (item.get("status") or {}).get("phase") in FINISHED,
        _end(metadata),
    )


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


class Pods(Collection[Pod]):
    """All pods of a cluster, and who runs on which node."""

    def __init__(self, api: KubeApi, patience: float = 0.5) -> None:
        # Counted, and only the few that are ending by name: a set for each of a hundred thousand would cost more than
        # all else that is known of them.
        self._running: dict[tuple[str, str, str], int] = {}
        self._ending: dict[tuple[str, str, str], dict[str, float]] = {}
        super().__init__(api, "pods", pod_of, patience)

    def runs_on(self, node: str, namespace: str, service_account: str, now: float) -> bool:
        """Tell whether a live pod of a service account is on a node at ``now``, Unix seconds. O(1) but for pods that
        are ending."""
        key = (node, namespace, service_account)
        return key in self._running or any(now < end for end in self._ending.get(key, {}).values())

    async def comes_to(self, node: str, namespace: str, service_account: str, now: float, seconds: float) -> bool:
        """Wait ``seconds`` at most until ``runs_on`` holds."""
        key = (node, namespace, service_account)
        return bool(await self.until(key, lambda: self.runs_on(*key, now) or None, seconds))

    def _keys(self, fact: Pod) -> tuple[object, ...]:
        return (_place(fact),)

    def _cleared(self) -> None:
        self._running, self._ending = {}, {}

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
