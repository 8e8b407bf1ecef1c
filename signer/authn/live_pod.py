"""Whether the pod and the service account of a proven token still are what it names; from memory, not per call.

A token's signature says what was true when it was made. The rules are those of the API server's own check
(kubernetes: pkg/serviceaccount/claims.go), and besides: a pod that has finished is nobody, and a pod is on one node.
"""

from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from signer.core.ports import Clock
from signer.core.types import PodRef
from signer.kube.answer import ApiUnavailable
from signer.kube.collection import Collection, Vanished
from signer.kube.pod_facts import Account, Pod
from signer.kube.pods import Accounts, Pods

# So long after its end is a deleted object's token still good (claims.go: time for what is slow to go).
LEEWAY_SECONDS = 60.0


class LivePods:
    """Looks pods and service accounts of one cluster up.

    Args:
        pods: Followed by a watch.
        accounts: Followed by a watch.
        clock: For objects that are ending.
        tolerance: Seconds for which both are believed while the API server cannot be watched.
    """

    def __init__(self, pods: Pods, accounts: Accounts, clock: Clock, tolerance: float) -> None:
        self._pods = pods
        self._accounts = accounts
        self._clock = clock
        self._tolerance = tolerance

    async def check(self, namespace: str, service_account: str, service_account_uid: str, pod: PodRef) -> PodRef:
        """Confirm a token's objects; give the pod with its node.

        Raises:
            AuthenticationFailed: One of them is gone, is another one, or has ended.
            AuthenticationUnavailable: They are not known now.
        """
        self._check_fresh(self._accounts)
        self._check_fresh(self._pods)
        try:
            account = await self._accounts.resolve(namespace, service_account, service_account_uid)
            # A pod that is on no node yet has no proxy to call: what is known of it is from before.
            found = await self._pods.resolve(namespace, pod.name, pod.uid, lambda it: bool(it.node or not pod.node))
        except Vanished as error:
            raise AuthenticationFailed(f"live: {error}") from None
        except ApiUnavailable as error:
            raise AuthenticationUnavailable(f"live: {error}") from None
        fault = _fault(found, account, pod, self._clock.now().timestamp())
        if fault is not None:
            raise AuthenticationFailed(f"live: {fault}")
        return PodRef(pod.name, pod.uid, found.node or pod.node)

    def _check_fresh(self, collection: Collection[Pod] | Collection[Account]) -> None:
        if fault := collection.disbelief(self._tolerance):
            raise AuthenticationUnavailable(f"live: {fault}")


def _fault(pod: Pod, account: Account, named: PodRef, now: float) -> str | None:
    """Say what is wrong with the objects; None if nothing is."""
    if pod.service_account != account.name:
        return "the pod runs as another service account"
    if pod.finished:
        return "the pod has finished"
    if _past(pod.ends, now) or _past(account.ends, now):
        return "the pod or its service account was to be gone a minute ago"
    if named.node and named.node != pod.node:
        return f"the token names node {named.node[:80]!a}, the pod is on {pod.node!a}"
    return None


def _past(end: float | None, now: float) -> bool:
    return end is not None and end < now - LEEWAY_SECONDS
