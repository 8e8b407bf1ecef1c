"""What is taken of pods and service accounts: who runs as what, where, and until when."""

import sys
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from signer.kube.answer import Manifest

# A pod in one of these never runs again.
FINISHED = frozenset({"Succeeded", "Failed"})
Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    Attributes:
        node: Where it runs; empty while it is not scheduled.
        finished: Whether all its containers have ended for good.
        ends: Its ``deletionTimestamp``, Unix seconds: by then it should be gone. None while nobody has deleted it.
        labels: Its labels, sorted by key; None where nobody needs them.
    """

    namespace: str
    name: str
    uid: str
    service_account: str
    node: str
    finished: bool = False
    ends: float | None = None
    labels: Labels | None = None

    def lives(self, now: float) -> bool:
        """Whether it may be running at ``now``, Unix seconds: a pod that was told to end lives through its grace."""
        return not self.finished and (self.ends is None or now < self.ends)


@dataclass(frozen=True, slots=True)
class Account:
    """One service account; ``ends`` as for pods."""

    namespace: str
    name: str
    uid: str
    ends: float | None = None


def pod_of(item: Manifest, labelled: bool = False) -> Pod:
    """Take what is needed of a pod's manifest, of its labels where they are ``labelled``. What many share is kept once.

    Raises:
        KeyError, TypeError, ValueError: It is no pod's.
    """
    metadata, spec = item["metadata"], item["spec"]
    return Pod(
        sys.intern(metadata["namespace"]),
        metadata["name"],
        metadata["uid"],
        sys.intern(spec.get("serviceAccountName") or ""),
        sys.intern(spec.get("nodeName") or ""),
        (item.get("status") or {}).get("phase") in FINISHED,
        _end(metadata),
        labels_of(metadata) if labelled else None,
    )


def labels_of(metadata: Manifest) -> Labels:
    """Take the labels of an object, sorted by key; what is no text is left out."""
    labels = metadata.get("labels")
    texts = labels.items() if isinstance(labels, dict) else ()
    return tuple(sorted((sys.intern(key), sys.intern(value)) for key, value in texts if isinstance(value, str)))


def account_of(item: Manifest) -> Account:
    """Take what is needed of a service account's manifest.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    metadata = item["metadata"]
    return Account(sys.intern(metadata["namespace"]), sys.intern(metadata["name"]), metadata["uid"], _end(metadata))


def _end(metadata: Manifest) -> float | None:
    text = metadata.get("deletionTimestamp")
    return None if text is None else datetime.fromisoformat(text).timestamp()
