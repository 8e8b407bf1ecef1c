"""The little of a kubeconfig file that tests need: where the server is, whom to trust, who we are."""

import base64
import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml


@dataclass(frozen=True)
class Access:
    """A server and a bearer token for it."""

    server: str
    """https://127.0.0.1:PORT"""
    authority: str
    """PEM of the certificates that vouch for the server."""
    token: str = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file with one cluster and one user, as the cluster program and `write` make it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not such a kubeconfig.
        """
        content = yaml.safe_load(path.read_text())
        try:
            cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            return cls(cluster["server"], authority, user["token"])
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"{path} is not a kubeconfig with a CA and a token: {error!r}") from error

    def with_token(self, token: str) -> "Access":
        """The same server, seen by someone else."""
        return dataclasses.replace(self, token=token)

    def write(self, path: Path, namespace: str = "default") -> Path:
        """Write a kubeconfig at mode 0600, whole or not at all, and return its path."""
        pending = path.with_name(f"{path.name}.pending")
        pending.unlink(missing_ok=True)
        with os.fdopen(os.open(pending, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            yaml.safe_dump(self._document(namespace), file)
        return pending.rename(path)

    def _document(self, namespace: str) -> dict[str, object]:
        authority = base64.b64encode(self.authority.encode()).decode()
        cluster = {"server": self.server, "certificate-authority-data": authority}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": self.token}}],
            "contexts": [{"name": "user", "context": {"cluster": "cluster", "user": "user", "namespace": namespace}}],
            "current-context": "user",
        }
