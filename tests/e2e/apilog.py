"""Which API calls an account has made, by the API server's own audit log."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.cluster.api import Kube
from tests.cluster.client import ApiError
from tests.cluster.poll import until
from tests.cluster.process import Cluster

FENCE_LIMIT = 15.0
"""Seconds for a call to appear in the log. It takes milliseconds."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ApiLog:
    """The log of one cluster, as far as it concerns one service account."""

    cluster: Cluster
    kube: Kube
    namespace: str
    account: str

    def calls(self) -> list[str]:
        """All calls of the account so far, as `VERB RESOURCE STATUS`, or `VERB PATH STATUS` where there is none."""
        user = f"system:serviceaccount:{self.namespace}:{self.account}"
        return [_told(event) for event in self._settled() if event["user"]["username"] == user]

    def _settled(self) -> list[Event]:
        """Everything that was called before this moment: a call of our own marks the end."""
        fence = f"fence-{uuid4().hex}"
        with suppress(ApiError):  # Of course there is none.
            self.kube.get("v1", "Namespace", fence)
        return until(self._up_to(fence), deadline=FENCE_LIMIT, what="our own call in the audit log")

    def _up_to(self, fence: str) -> Callable[[], list[Event] | None]:
        def probe() -> list[Event] | None:
            text = self.cluster.audit_log.read_text()
            if fence not in text:
                return None
            return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

        return probe


def _told(event: Event) -> str:
    target = event.get("objectRef", {}).get("resource", event["requestURI"])
    return f"{event['verb']} {target} {event['responseStatus']['code']}"
