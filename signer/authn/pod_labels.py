"""The labels of the caller's pod, for routes that ask for them; nobody is asked while no route does.

A token proves which pod its bearer is; labels are not in it, so the API server is asked for the pod, which must be the
very one (by uid) and run as the very service account that the token proved.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import quote

from signer.authn.foreign import mapping
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, Overloaded
from signer.core.ports import Authenticator, Clock
from signer.core.recent import Recent
from signer.core.types import Caller, Credentials, PodRef
from signer.kube.answer import OBJECT_BYTES, Answer, ApiUnavailable, is_not_found
from signer.kube.api import KubeApi
from signer.kube.asking import Asking
from signer.kube.pod_facts import Labels, labels_of

# A change of a pod's labels counts this much later, at most.
CACHE_SECONDS = 60.0
MAX_PODS = 10_000
MAX_UNDER_WAY = 256
_ATTEMPTS = 2
Watched: TypeAlias = Callable[[str, str, str, str], Labels | None]
_RIGHT = "may this service account get pods, as routes with match.pod_labels need it?"


@dataclass(frozen=True, slots=True)
class _Known:
    labels: Labels
    until: float


class WithPodLabels:
    """Authenticates as another does, and adds the labels of the pod.

    Args:
        inner: Proves the caller.
        api: The API server of the callers' cluster.
        needed: Tells whether any route looks at labels now.
        clock: Its monotonic hand says how long labels are remembered.
        timeout: Seconds for one question, tries included.
        watched: Gives the labels of a pod that is watched, by namespace, name, UID and service account; None where it
            does not know: then the API server is asked.
    """

    def __init__(
        self,
        inner: Authenticator,
        api: KubeApi,
        needed: Callable[[], bool],
        clock: Clock,
        timeout: float,
        watched: Watched = lambda *_: None,
    ) -> None:
        self._inner = inner
        self._api = api
        self._needed = needed
        self._clock = clock
        self._timeout = timeout
        self._watched = watched
        self._known: Recent[tuple[str, str], _Known] = Recent(MAX_PODS)
        self._asking: Asking[Labels] = Asking("pod labels", MAX_UNDER_WAY, Overloaded, AuthenticationUnavailable)

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove the caller; where labels are needed and it is a pod, with the pod's.

        Raises:
            AuthenticationFailed: Its proof is bad, or the pod is gone or another one.
            AuthenticationUnavailable: It could not be judged, or the pod could not be read.
            Overloaded: Too many pods are being read.
        """
        caller = await self._inner.authenticate(credentials)
        pod = caller.pod
        if pod is None or not self._needed():
            return caller
        return replace(caller, pod=replace(pod, labels=await self._labels(caller, pod)))

    async def _labels(self, caller: Caller, pod: PodRef) -> Labels:
        account = caller.identity.service_account
        # With the account: what is remembered of a pod was checked against the account that it runs as.
        key = (pod.uid, account)
        labels = self._watched(caller.identity.namespace, pod.name, pod.uid, account)
        if labels is None:
            labels = self._recall(key)
        return labels if labels is not None else await self._asking.ask(key, lambda: self._read(key, caller, pod))

    def _recall(self, key: tuple[str, str]) -> Labels | None:
        known = self._known.get(key)
        if known is None:
            return None
        if known.until <= self._clock.monotonic():
            self._known.forget(key)
            return None
        # Put again: the pod that has not called for longest is to go.
        self._known.put(key, known)
        return known.labels

    async def _read(self, key: tuple[str, str], caller: Caller, pod: PodRef) -> Labels:
        namespace, name = quote(caller.identity.namespace, safe=""), quote(pod.name, safe="")
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        except TimeoutError:
            raise AuthenticationUnavailable(f"pod labels: no answer within {self._timeout} s") from None
        labels = labels_in(answer, pod.name, pod.uid, caller.identity.service_account)
        self._known.put(key, _Known(labels, self._clock.monotonic() + CACHE_SECONDS))
        return labels

    async def _get(self, path: str) -> Answer:
        """Ask, and once more where a connection broke."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._api.call("GET", path, self._timeout, limit=OBJECT_BYTES)
            except ApiUnavailable as error:
                if error.final or attempt == _ATTEMPTS:
                    raise AuthenticationUnavailable(f"pod labels: {error}") from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def close(self) -> None:
        """Stop asking."""
        await self._asking.close()


def labels_in(answer: Answer, name: str, uid: str, service_account: str) -> Labels:
    """Read the labels of one pod.

    Raises:
        AuthenticationFailed: The pod is gone, is another one, or runs as another service account.
        AuthenticationUnavailable: The answer does not say.
    """
    if is_not_found(answer, name):
        raise AuthenticationFailed("pod labels: the pod is gone")
    if answer.status != 200:
        hint = f": {_RIGHT}" if answer.status in (401, 403) else ""
        raise AuthenticationUnavailable(f"pod labels: HTTP {answer.status}{hint}")
    metadata, spec = mapping(answer.body.get("metadata")), mapping(answer.body.get("spec"))
    if answer.body.get("kind") != "Pod" or not isinstance(metadata.get("uid"), str):
        raise AuthenticationUnavailable("pod labels: the answer is not a Pod")
    if metadata["uid"] != uid:
        raise AuthenticationFailed("pod labels: the pod is gone, and another has its name")
    if spec.get("serviceAccountName") != service_account:
        raise AuthenticationFailed("pod labels: the pod runs as another service account")
    return labels_of(metadata)
