"""What one of Istio's remote secrets holds; nothing in it is taken for granted.

Source: istio: pkg/kube/multicluster/secretcontroller.go: each key of the data is a cluster's id, each value a
kubeconfig.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from signer.kube.answer import Manifest

# One has some 10 KiB, and reading YAML takes a second for every 50.
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """What a secret holds for one cluster.

    Attributes:
        digest: SHA-256 of its base64 text, by which a change is seen.
        data: The kubeconfig; empty where ``fault`` says why there is none.
    """

    digest: bytes
    data: bytes
    fault: str = ""


def name_of(item: Any) -> str:
    """A secret's name; empty where there is none."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def found_in(item: Manifest) -> dict[str, Found]:
    """What it holds, by cluster id."""
    data = item.get("data")
    return {cluster: _read(value) for cluster, value in data.items()} if isinstance(data, dict) else {}


def _read(value: Any) -> Found:
    text = value if isinstance(value, str) else ""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    # By the length of the text, with the room that base64 takes: nothing too large is decoded or kept.
    if len(text) > MAX_BYTES // 3 * 4 + 4:
        return Found(digest, b"", f"over {MAX_BYTES} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Found(digest, b"", "not base64")
    if len(data) > MAX_BYTES:
        return Found(digest, b"", f"over {MAX_BYTES} bytes")
    return Found(digest, data) if data else Found(digest, b"", "empty")
