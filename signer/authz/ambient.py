"""Ambient mesh: a node's proxy (ztunnel) gets certificates for the workloads of its own node, and for no others.

The rules are those of istiod (security/pkg/server/ca/node_auth.go), made stricter: the caller's own token must be bound
to a pod, that pod must be the one that runs now, on the node that the token names; the workload's pod must live.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from signer.core.errors import AuthenticationUnavailable, ImpersonationDenied, SignerError
from signer.core.identity import InvalidIdentity, SpiffeId
from signer.core.ports import Clock
from signer.core.types import Caller, Grant, PodRef
from signer.kube.answer import ApiUnavailable
from signer.kube.collection import Vanished
from signer.kube.pod_facts import Pod
from signer.kube.pods import Pods

# A watch that lags behind a pod's start is waited for so long: a refusal would cost ztunnel a second or more.
PATIENCE = 2.0
# A ztunnel asks for 8 identities at once.
MAX_WAITING_EACH = 16
MAX_WAITING = 128


@dataclass(frozen=True, slots=True)
class NodeProxies:
    """Who may act for others in one cluster.

    Attributes:
        accounts: NAMESPACE/SERVICE_ACCOUNT of the node proxies.
        pods: The pods of the cluster.
        tolerance: Seconds for which pods are believed while the API server cannot be watched.
    """

    accounts: Collection[str]
    pods: Pods
    tolerance: float


class ForOthers:
    """Grants a caller its own identity, and to a node's proxy those of the node's workloads.

    Args:
        proxies: By the id of the callers' cluster; others trust nobody.
        clock: For pods that are ending.
    """

    def __init__(self, proxies: Mapping[str, NodeProxies], clock: Clock) -> None:
        self._proxies = proxies
        self._clock = clock
        self._waiting = _Waiting()

    async def authorize(self, caller: Caller, impersonated: str) -> Grant:
        """Grant the caller's own identity, or the one it asks for.

        Raises:
            ImpersonationDenied: It may not act for that identity.
            AuthenticationUnavailable: Its cluster's pods are not known now.
        """
        if not impersonated:
            return Grant(caller.identity, caller)
        proxies = self._trusted(caller, impersonated)
        wanted = _identity(caller, impersonated)
        node = await self._own_node(caller, proxies)
        _check_fresh(proxies)
        place = (node, wanted.namespace, wanted.service_account, self._clock.now().timestamp())
        if not (proxies.pods.runs_on(*place) or await self._comes(caller, proxies, place)):
            raise _denied(caller, impersonated, f"no live pod of it runs on node {node!a}")
        return Grant(wanted, caller, impersonated=True)

    async def _comes(self, caller: Caller, proxies: NodeProxies, place: tuple[str, str, str, float]) -> bool:
        """Wait for a pod that is not known, and ask for it: neither a watch that lags nor a dead one is a refusal."""
        _check_known(proxies)
        with self._waiting.place(caller.pod.uid if caller.pod else ""):
            if await proxies.pods.comes_to(*place, PATIENCE):
                return True
            _check_known(proxies)
            try:
                return await proxies.pods.are_on(*place)
            except ApiUnavailable as error:
                raise AuthenticationUnavailable(f"impersonation: {error}") from None

    def _trusted(self, caller: Caller, impersonated: str) -> NodeProxies:
        proxies = self._proxies.get(caller.cluster)
        account = f"{caller.identity.namespace}/{caller.identity.service_account}"
        if proxies is None or account not in proxies.accounts:
            raise _denied(caller, impersonated, f"{account} is no trusted node account of cluster {caller.cluster!a}")
        return proxies

    async def _own_node(self, caller: Caller, proxies: NodeProxies) -> str:
        """The node on which the caller's own, very pod runs."""
        reference = caller.pod
        if reference is None:
            raise _denied(caller, "", "it has proven no pod (a legacy token, or a client certificate)")
        pod = await self._own_pod(caller, reference, proxies)
        fault = _pod_fault(pod, caller, reference, self._clock.now().timestamp())
        if fault is not None:
            raise _denied(caller, "", fault)
        return pod.node

    async def _own_pod(self, caller: Caller, reference: PodRef, proxies: NodeProxies) -> Pod:
        try:
            return await proxies.pods.resolve(
                caller.identity.namespace, reference.name, reference.uid, lambda pod: bool(pod.node)
            )
        except Vanished as error:
            raise _denied(caller, "", str(error)) from None
        except ApiUnavailable as error:
            raise AuthenticationUnavailable(f"impersonation: {error}") from None


class _Waiting:
    """How many wait for pods: whoever waits holds a place that all callers share, and one proxy must not hold all."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    @contextmanager
    def place(self, proxy: str) -> Iterator[None]:
        """Take a place for one proxy, by its pod's UID.

        Raises:
            AuthenticationUnavailable: It has too many, or all have.
        """
        if self._of[proxy] >= MAX_WAITING_EACH:
            raise AuthenticationUnavailable(f"impersonation: {self._of[proxy]} requests of this proxy wait for pods")
        if self._of.total() >= MAX_WAITING:
            raise AuthenticationUnavailable(f"impersonation: {MAX_WAITING} requests of other proxies wait for pods")
        self._of[proxy] += 1
        try:
            yield
        finally:
            self._of[proxy] -= 1
            if not self._of[proxy]:
                del self._of[proxy]


def _pod_fault(pod: Pod, caller: Caller, reference: PodRef, now: float) -> str | None:
    """Say why a proxy's own pod gives it no right; None if it does."""
    if pod.service_account != caller.identity.service_account:
        return "its pod runs as another service account"
    if not pod.lives(now):
        return "its pod has ended"
    if not pod.node:
        return "its pod is on no node"
    if reference.node not in (None, pod.node):
        return f"its token names node {str(reference.node)[:80]!a}, its pod is on {pod.node!a}"
    return None


def _identity(caller: Caller, text: str) -> SpiffeId:
    """Parse exactly; a look-alike, two in one, or another trust domain is nobody's identity here."""
    try:
        wanted = SpiffeId.parse(text)
    except InvalidIdentity as error:
        raise _denied(caller, text, str(error)) from None
    if wanted.trust_domain != caller.identity.trust_domain:
        raise _denied(caller, text, f"it is of trust domain {wanted.trust_domain}")
    return wanted


def _check_known(proxies: NodeProxies) -> None:
    """A list that was never read, or a watch that is broken, says nothing of who does not run."""
    if not proxies.pods.synced or proxies.pods.stale_for() > 0:
        raise AuthenticationUnavailable(f"impersonation: pods are not known now: {proxies.pods.watch.fault}")


def _check_fresh(proxies: NodeProxies) -> None:
    if fault := proxies.pods.disbelief(proxies.tolerance):
        raise AuthenticationUnavailable(f"impersonation: pods: {fault}")


def _denied(caller: Caller, impersonated: str, why: str) -> SignerError:
    asked = f" for {impersonated[:200]!a}" if impersonated else ""
    return ImpersonationDenied(f"{caller.identity} asked to act{asked}: {why}")
