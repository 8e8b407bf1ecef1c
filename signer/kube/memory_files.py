"""Certificates and keys of a kubeconfig as files in memory: the client takes paths, and a key must not reach a disk.

The client itself would write them to temporary files that stay until the process ends; and a read-only root has none.
"""

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

# The key that holds the data, and the one that names a file in its place.
_FILES = {
    "certificate-authority-data": "certificate-authority",
    "client-certificate-data": "client-certificate",
    "client-key-data": "client-key",
}


@contextmanager
def in_memory(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a kubeconfig whose data are files, for as long as the block lasts.

    Args:
        config: As ``signer.kube.foreign_kubeconfig.sanitized`` leaves it.

    Raises:
        ValueError: Data that are not base64; the message names the key and never the value.
    """
    with ExitStack() as opened:
        users = [{**entry, "user": _files(entry["user"], opened)} for entry in config["users"]]
        clusters = [{**entry, "cluster": _files(entry["cluster"], opened)} for entry in config["clusters"]]
        yield {**config, "users": users, "clusters": clusters}


def _files(section: Mapping[str, str], opened: ExitStack) -> dict[str, str]:
    return dict(
        (_FILES[key], _file(key, value, opened)) if key in _FILES else (key, value)
        for key, value in section.items()
        if value
    )


def _file(key: str, value: str, opened: ExitStack) -> str:
    try:
        data = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{key}: not base64") from None
    descriptor = os.memfd_create("kubeconfig", os.MFD_CLOEXEC)
    opened.callback(os.close, descriptor)
    # At most 256 KiB: a file in memory takes them in one write.
    os.write(descriptor, data)
    return f"/proc/self/fd/{descriptor}"
