"""One Secret at the API server: read, watched, and written only over the version that was read."""

from collections.abc import Callable

from signer.kube.answer import Answer, ApiUnavailable, reason_of
from signer.kube.api import KubeApi
from signer.kube.gathering import Gathering, Whole
from signer.kube.watch import Watch
from signer.trust.istiod.secret import Manifest, Place

SECONDS = 5.0
# How PEM begins, plainly and in base64.
_PEM = ("-----BEGIN", "LS0tLS1CRUdJTi")


class Conflict(Exception):
    """Somebody else has written the Secret in the meantime: what was judged is no longer there."""


class SecretStore:
    """Reads and writes the Secret; retries nothing."""

    def __init__(self, api: KubeApi, place: Place) -> None:
        self.place = place
        self._api = api
        self._all = f"/api/v1/namespaces/{place.namespace}/secrets"
        self._one = f"{self._all}/{place.name}"

    async def read(self) -> Manifest | None:
        """Give the Secret as it is, or None where there is none.

        Raises:
            ApiUnavailable: It cannot be read now.
        """
        answer = await self._api.call("GET", self._one, SECONDS)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _refused("read", answer)
        return answer.body

    async def write(self, manifest: Manifest) -> None:
        """Create it, or replace the very version that was read.

        Raises:
            Conflict: There is another version by now, or one where there was none, or none where there was one.
            ApiUnavailable: The API server did not take it, or did not say so in time: it may have.
        """
        if "resourceVersion" in manifest["metadata"]:
            answer = await self._api.call("PUT", self._one, SECONDS, manifest)
            gone = answer.status == 404
        else:
            answer = await self._api.post(self._all, manifest, SECONDS)
            gone = False
        if answer.status == 409 or gone:
            raise Conflict
        if answer.status not in (200, 201):
            raise _refused("written", answer)

    def watch(self, changed: Callable[[], None]) -> Watch:
        """Make a watch that calls ``changed`` whenever the Secret may be another one."""
        return Watch(self._api, self._all, {"fieldSelector": f"metadata.name={self.place.name}"}, _Bell(changed))


class _Bell:
    """A follower that keeps nothing: what is judged is read afresh, and events may come late."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def gathering(self) -> Gathering:
        return Whole(lambda _: self._ring())

    def changed(self, _: str, __: Manifest) -> None:
        self._ring()


def _refused(done: str, answer: Answer) -> ApiUnavailable:
    said = reason_of(answer)
    # A webhook may quote what it refuses, and that holds a key.
    if any(mark in said for mark in _PEM):
        said = str(answer.body.get("reason", ""))[:60]
    return ApiUnavailable(f"it cannot be {done}: HTTP {answer.status}: {said}", retry_after=answer.retry_after)
