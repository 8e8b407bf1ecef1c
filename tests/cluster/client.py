"""JSON over HTTPS to the API server, with a time-out on every call. Sync and bare on purpose: tests only set scenes.

Errors: `ApiError` for a refusal, and its `UnreachableError` where no answer came, or none in time.
"""

import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import urllib3

from tests.cluster.kubeconfig import Access

Manifest = dict[str, Any]
"""A Kubernetes object as JSON. The only untyped thing here: its shape is the API's, not ours."""

CALL_LIMIT = 10.0
"""Seconds for one API call."""


class ApiError(Exception):
    """The API server's refusal: HTTP `status`, machine `reason` (such as "NotFound") and `message`."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class UnreachableError(ApiError):
    """The server did not answer; `status` is 0."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class Client:
    """A connection pool to one server in one user's name. Usable from several threads."""

    def __init__(self, access: Access, limit: float = CALL_LIMIT) -> None:
        self.access = access
        self._pool = urllib3.PoolManager(
            maxsize=16,
            timeout=urllib3.Timeout(total=limit),
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_cert_data=access.authority,
        )
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    def call(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        """Send one request and return the JSON answer.

        Raises:
            ApiError: the answer is not a success.
            UnreachableError: there is no answer within the limit.
        """
        url = self.access.server + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self.access.token}", "Content-Type": content_type}
        content = None if body is None else json.dumps(body)
        try:
            response = self._pool.request(method, url, body=content, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"{method} {path}: {error}") from error
        answer = _json(response.data)
        if not 200 <= response.status < 300:
            raise ApiError(response.status, str(answer.get("reason", "")), str(answer.get("message", "no message")))
        return answer

    def path(self, api_version: str, kind: str, name: str = "", namespace: str = "") -> str:
        """The path of an object, or of all of its kind, as the server's discovery tells it.

        A kind without namespaces ignores `namespace`; without `namespace`, a list spans them all.

        Raises:
            ApiError: the server does not know the kind (404), or see `call`.
        """
        plural, namespaced = self._discover(api_version, kind)
        inside = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return f"{_root(api_version)}{inside}/{plural}" + (f"/{name}" if name else "")

    def _discover(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._kinds:
            for resource in self.call("GET", _root(api_version))["resources"]:
                if "/" not in resource["name"]:
                    self._kinds[api_version, resource["kind"]] = (resource["name"], resource["namespaced"])
        if (api_version, kind) not in self._kinds:
            raise ApiError(404, "NotFound", f"the server has no {kind} in {api_version}")
        return self._kinds[api_version, kind]

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _json(data: bytes) -> Manifest:
    try:
        content = json.loads(data)
    except ValueError:
        return {"message": data[:256].decode(errors="replace")}
    return content if isinstance(content, dict) else {"message": data[:256].decode(errors="replace")}
