"""What the desk must know of a kind of request: pure, one implementation for each kind."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from signer.core.verify_leaf import CLOCK_LEEWAY

Manifest = dict[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "istio-signer"
BACKEND = "istio-signer.io/backend"
BATCH = "istio-signer.io/batch"
MAX_WORDS = 300
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a request stands.

    Attributes:
        certificate: The PEM text of the chain, leaf first, once it is signed.
        ca: The PEM text of the CA that was given beside it, where there is one.
        refused: Why it was turned down for good.
        words: What the last condition says, while it is pending.
    """

    certificate: str = ""
    ca: str = ""
    refused: str = ""
    words: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return bool(self.certificate or self.refused)


class RequestKind(Protocol):
    """A kind of object that asks for a certificate."""

    @property
    def path(self) -> str:
        """The collection's path."""
        ...

    @property
    def resource(self) -> str:
        """Its plural and group, for advice: ``certificaterequests.cert-manager.io``."""
        ...

    def same(self, existing: Manifest, wanted: Manifest) -> bool:
        """Tell whether an existing object asks for the same, and for no longer than ``lasts_no_longer`` allows."""
        ...

    def verdict(self, item: Manifest) -> Verdict:
        """Read an object's status."""
        ...

    def approval(self, item: Manifest) -> Manifest | None:
        """The body of ``PUT .../approval`` that this object still needs from us; None where it needs none."""
        ...


def label_value(name: str) -> str:
    """A backend's name as the value of a label (Kubernetes: "Labels and Selectors"); its digest where it is none."""
    return name if _LABEL_VALUE.fullmatch(name) else sha256(name.encode()).hexdigest()[:32]


def uid_of(item: Manifest) -> str:
    """An object's UID: another object of the same name has another one."""
    return str(item.get("metadata", {}).get("uid", ""))


def username(item: Manifest) -> str:
    """Who has made a request: the API server, or cert-manager's webhook, writes it; empty where nobody does."""
    return str((item.get("spec") or {}).get("username") or "")


def lasts_no_longer(seconds: float | None, wanted: float) -> bool:
    """Tell whether a lifetime that was asked for earlier is one that verify would pass now.

    It was decided by another clock, so it may be a little longer. None means that the signer chooses: as long as it
    likes.
    """
    return seconds is not None and seconds <= wanted + CLOCK_LEEWAY.total_seconds()


def conditions(item: Manifest) -> list[Manifest]:
    """The conditions of an object; none where its status has no such shape."""
    found = (item.get("status") or {}).get("conditions") or []
    return [c for c in found if isinstance(c, dict)] if isinstance(found, list) else []


def words(condition: Manifest) -> str:
    """A condition's type, reason and message, cut and quoted: anybody may have written them."""
    reason, message = str(condition.get("reason", ""))[:60], str(condition.get("message", ""))[:MAX_WORDS]
    return f"{str(condition.get('type', ''))[:40]} {reason!a} {message!a}"


def is_true(condition: Manifest, kind: str) -> bool:
    """Tell whether a condition of that type is true."""
    return condition.get("type") == kind and condition.get("status") == "True"
