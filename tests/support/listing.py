"""Listing into a follower as a watch does, without an API server; and objects as an API server would list them."""

from datetime import UTC, datetime

from signer.kube.answer import Manifest
from signer.kube.gathering import Follower
from signer.kube.pod_facts import Account, Pod


def list_into(follower: Follower, *pages: list[Manifest]) -> None:
    """Take a list, page by page. Raises as the follower does."""
    gathering = follower.gathering()
    for page in pages:
        gathering.add(page)
    gathering.done()


def manifest_of(fact: Pod | Account) -> Manifest:
    """The manifest that this is taken of."""
    metadata = {"namespace": fact.namespace, "name": fact.name, "uid": fact.uid}
    if fact.ends is not None:
        metadata["deletionTimestamp"] = datetime.fromtimestamp(fact.ends, UTC).isoformat()
    if isinstance(fact, Account):
        return {"metadata": metadata}
    spec = {"serviceAccountName": fact.service_account, "nodeName": fact.node}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Succeeded" if fact.finished else "Running"}}
