"""Pods and service accounts as far as identities need them, followed and asked for."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import quote

from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.asking import Asking
from signer.kube.collection import GET_SECONDS, PAGE, Collection
from signer.kube.listing import Gone, pages_of
from signer.kube.places import Places, place_of
from signer.kube.pod_facts import Account, Pod, account_of, pod_of

MAX_NODES_ASKED = 16


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
        found = any(place_of(pod) == key and not pod.finished and pod.lives(now) for pod in there)
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
        return (place_of(fact),)


class Accounts(Collection[Account]):
    """All service accounts of a cluster."""

    def __init__(self, api: KubeApi, patience: float = 0.5) -> None:
        super().__init__(api, "serviceaccounts", account_of, patience)
