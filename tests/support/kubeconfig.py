"""Kubeconfig files."""

import json
from pathlib import Path


def kubeconfig(path: Path, server: str, token: str) -> Path:
    """Write one for a server, with a bearer token."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "far", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": "only", "context": {"cluster": "far", "user": "me"}}],
        "current-context": "only",
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
