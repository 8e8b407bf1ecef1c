"""Secrets as files that Envoy watches, swapped all at once."""

import itertools
import json
from pathlib import Path
from typing import Any

from tests.mesh.credential import Credential

TLS = "tls"
ROOTS = "roots"
_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class SecretFolder:
    """A folder of numbered versions with a link to the current one.

    Envoy reads again when something is MOVED into the folder: renaming the new link over the old one is such a move,
    and it leaves no moment at which a reader finds the new key beside the old certificate.
    """

    def __init__(self, path: Path, credential: Credential) -> None:
        self._path = path
        self._numbers = itertools.count()
        path.mkdir()
        self.write(credential)

    def write(self, credential: Credential) -> None:
        """Write one more version and make it the current one."""
        version = self._path / f"v{next(self._numbers)}"
        version.mkdir()
        for name, secret in _secrets(credential).items():
            file = version / f"{name}.json"
            file.touch(mode=0o600)
            file.write_text(json.dumps({"resources": [{"@type": _SECRET, "name": name, **secret}]}))
        link = self._path / "next"
        link.symlink_to(version.name)
        link.rename(self._path / "current")

    def source(self, name: str) -> dict[str, Any]:
        """Give the SdsSecretConfig that makes Envoy read the named secret from here."""
        files = {
            "path": str(self._path / "current" / f"{name}.json"),
            "watched_directory": {"path": str(self._path)},
        }
        return {"name": name, "sds_config": {"path_config_source": files, "resource_api_version": "V3"}}


def _secrets(credential: Credential) -> dict[str, dict[str, Any]]:
    return {
        TLS: {
            "tls_certificate": {
                "certificate_chain": {"inline_string": credential.certificate_chain},
                "private_key": {"inline_string": credential.key},
            }
        },
        ROOTS: {"validation_context": {"trusted_ca": {"inline_string": credential.roots}}},
    }
