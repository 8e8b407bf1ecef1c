"""Who runs on which node, from all pods of a cluster."""

from signer.kube.pod_facts import Pod
from signer.kube.table import Table


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
        key = place_of(fact)
        if fact.ends is None:
            self._running[key] = self._running.get(key, 0) + 1
        else:
            self._ending.setdefault(key, {})[fact.name] = fact.ends

    def _removed(self, fact: Pod) -> None:
        if fact.finished or not fact.node:
            return
        key = place_of(fact)
        if fact.ends is not None:
            _drop(self._ending, key, fact.name)
        elif self._running[key] > 1:
            self._running[key] -= 1
        else:
            del self._running[key]


def place_of(pod: Pod) -> tuple[str, str, str]:
    """Its node, namespace and service account."""
    return pod.node, pod.namespace, pod.service_account


def _drop(ending: dict[tuple[str, str, str], dict[str, float]], key: tuple[str, str, str], name: str) -> None:
    names = ending[key]
    del names[name]
    if not names:
        del ending[key]
