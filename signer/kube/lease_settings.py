"""What is asked of an election, and what it gives to those who act upon it."""

from dataclasses import dataclass
from typing import Protocol

_ACTED_SHARE = 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Which Lease, and how fast.

    Attributes:
        namespace: Of the Lease.
        name: Of the Lease.
        identity: Ours, unlike any other process's at any time: a pod's name and a random part.
        duration: Seconds, 1 or more, that others wait after the last renewal that they saw.
        renew: Seconds between renewals, less than two thirds of ``duration``.
        retry: Seconds between tries of those who do not lead, at most.

    Raises:
        ValueError: The numbers do not go together, or there is no identity.
    """

    namespace: str
    name: str = "istio-signer"
    identity: str
    duration: float = 15.0
    renew: float = 5.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.identity:
            raise ValueError("a lease needs an identity that no other process has")
        if self.duration < 1 or self.retry <= 0 or not 0 < self.renew < self.window:
            raise ValueError("a lease's duration must be over 1.5 times the time between renewals, and all over 0")

    @property
    def window(self) -> float:
        """Seconds that a leader acts after it asked for a renewal."""
        return self.duration * _ACTED_SHARE

    @property
    def collection(self) -> str:
        """The path where Leases are made."""
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"

    @property
    def path(self) -> str:
        """The Lease's path."""
        return f"{self.collection}/{self.name}"


class Leadership(Protocol):
    """What duties look at."""

    @property
    def leads(self) -> bool:
        """True only while nobody else can lead; look again after each await."""
        ...

    @property
    def term(self) -> int:
        """The Lease's number of changes of hands when it was acquired."""
        ...
