"""Where certificates came from: the cluster and the pod that each was issued to, for when it comes back as a proof.

A certificate says whose it is and not where that was proven. What this process has issued it remembers, so that a rule
about a cluster, or a denied pod, holds for renewals by certificate too.
"""

from dataclasses import dataclass

from signer.core.recent import Recent
from signer.core.types import Grant

MAX_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Origin:
    """The cluster of a certificate's first caller; and the UID of its pod, empty where it is not known."""

    cluster: str
    pod_uid: str = ""


class Origins:
    """Remembers certificates by serial; the oldest are forgotten first.

    Args:
        size: How many are remembered.
    """

    def __init__(self, size: int = MAX_REMEMBERED) -> None:
        self._origins: Recent[int, Origin] = Recent(size)

    def issued(self, grant: Grant, serial: int) -> None:
        """Note a certificate that is handed out."""
        caller = grant.caller
        # A node proxy's pod is not that of the workload it asks for.
        pod = caller.pod.uid if caller.pod is not None else caller.issued_to
        self._origins.put(serial, Origin(caller.cluster, "" if grant.impersonated else pod))

    def of(self, serial: int) -> Origin | None:
        """Give what is known of a certificate."""
        return self._origins.get(serial)
