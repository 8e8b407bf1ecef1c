"""Single calls for one kind of request, tried again while that may help."""

import asyncio
import random

from backends.kube_requests.kind import Manifest, RequestKind
from backends.kube_requests.refusals import is_transient
from signer.core.errors import BackendUnavailable
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi

CALL_SECONDS = 5.0
TRIES = 4
# A request waits no longer for a server that wants to be spared; its caller comes again, or another backend signs.
MAX_SPARING = 2.0


class Calls:
    """Calls to one API server about one kind of object."""

    def __init__(self, api: KubeApi, kind: RequestKind) -> None:
        self._api = api
        self._kind = kind

    async def once(self, method: str, path: str, body: Manifest | None = None) -> Answer:
        """One call, not tried again.

        Raises:
            ApiUnavailable: No answer.
        """
        return await self._api.call(method, path, CALL_SECONDS, body)

    async def call(self, method: str, path: str, body: Manifest | None = None) -> Answer:
        """One call, tried again while that may help; the time-out around it ends it.

        Raises:
            BackendUnavailable: No answer.
        """
        for left in range(TRIES - 1, -1, -1):
            try:
                answer = await self.once(method, path, body)
                if not left or not is_transient(answer) or answer.retry_after > MAX_SPARING:
                    return answer
                sparing = answer.retry_after
            except ApiUnavailable as error:
                if not left or error.final or error.retry_after > MAX_SPARING:
                    raise BackendUnavailable(f"{self._kind.resource}: {error}") from None
                sparing = error.retry_after
            # Spread also after what the server has named: all of its clients have read the same number.
            await asyncio.sleep(sparing + random.uniform(0.05, 0.3) * (TRIES - left))  # noqa: S311
        raise AssertionError("unreachable")
