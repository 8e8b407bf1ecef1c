"""Configuration files for signers under test: everything on loopback and on ports that the system picks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Sections = Mapping[str, Any]


class Only(dict[str, Any]):
    """A section that replaces the usual one instead of being laid over it."""


def settings(folder: Path, ca: Path, kubeconfig: Path, changes: Sections) -> dict[str, Any]:
    """The configuration of a signer that lives in `folder`; the changes' sections are laid over it key by key."""
    base: dict[str, Any] = {
        "listen": {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
        "clusters": [{"id": "Kubernetes", "kubeconfig": str(kubeconfig)}],
        "backends": {"local": {"type": "local", "directory": str(ca)}},
        "serving": {"dns_names": ["istio-signer.istio-system.svc"], "ip_addresses": ["127.0.0.1"]},
        "logging": {"audit": str(folder / "audit.jsonl")},
        "shutdown": {"delay": "200ms", "grace": "5s"},
    }
    for name, section in changes.items():
        below = base.get(name)
        if isinstance(below, dict) and isinstance(section, dict) and not isinstance(section, Only):
            base[name] = {**below, **section}
        else:
            base[name] = dict(section) if isinstance(section, Only) else section
    return base


def write_settings(folder: Path, ca: Path, kubeconfig: Path, changes: Sections) -> Path:
    """Write it as the YAML file of a signer, and give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings(folder, ca, kubeconfig, changes), sort_keys=False))
    return path
