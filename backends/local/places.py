"""Where a CA's files lie for whoever changes them: a directory, or the Secret that one is mounted from."""

import asyncio
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext
from signer.kube.answer import Answer, ApiUnavailable, reason_of
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.no_cluster import NoCluster

_SECONDS = 10.0


class CaPlace(Protocol):
    """A flat set of files."""

    async def load(self) -> dict[str, bytes]:
        """Read all of them.

        Raises:
            RotationRefused: They cannot be read.
        """
        ...

    async def save(self, changes: Mapping[str, bytes | None]) -> None:
        """Write files in the order given, and remove those that are None; no reader meets half a file.

        Raises:
            RotationRefused: They cannot be written.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class DirectoryPlace:
    """A directory that this process may write to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def load(self) -> dict[str, bytes]:
        """See ``CaPlace``."""
        try:
            return await asyncio.to_thread(self._load)
        except OSError as error:
            raise RotationRefused(f"{error.filename}: cannot be read: {error.strerror}") from None

    async def save(self, changes: Mapping[str, bytes | None]) -> None:
        """See ``CaPlace``."""
        if (self._directory / "..data").is_symlink():
            raise RotationRefused(
                f"{self._directory} is mounted from a Secret: name it with --secret NAMESPACE/NAME, or work on a copy"
            )
        try:
            await asyncio.to_thread(self._save, changes)
        except OSError as error:
            raise RotationRefused(f"{error.filename}: cannot be written: {error.strerror}") from None

    async def close(self) -> None:
        """Nothing is open."""

    def _load(self) -> dict[str, bytes]:
        names = [path.name for path in self._directory.iterdir() if path.is_file()]
        return {name: (self._directory / name).read_bytes() for name in sorted(names)}

    def _save(self, changes: Mapping[str, bytes | None]) -> None:
        for name, data in changes.items():
            if data is None:
                (self._directory / name).unlink(missing_ok=True)
            else:
                write_whole(self._directory / name, data)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step, readable by its owner only: there are keys among them.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        # Whoever reads the old one must be able to read the new one: commands are run by others than the signer.
        there, mine = path.stat(), partial.stat()
        if (there.st_uid, there.st_gid) != (mine.st_uid, mine.st_gid):
            os.chown(partial, there.st_uid, there.st_gid)
        partial.chmod(there.st_mode & 0o777)
    partial.replace(path)


class SecretPlace:
    """A Secret; all of a change is written at once, or not at all."""

    def __init__(self, api: KubeApi, namespace: str, name: str) -> None:
        self._api = api
        self._name = f"{namespace}/{name}"
        self._path = f"/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}"

    @classmethod
    async def open(cls, text: str, context: BackendContext) -> "SecretPlace":
        """Connect to the local cluster.

        Raises:
            RotationRefused: The text is no ``NAMESPACE/NAME``, or there is no way to the cluster.
        """
        namespace, slash, name = text.partition("/")
        if not (slash and namespace and name):
            raise RotationRefused(f"--secret: write NAMESPACE/NAME; this is {text!r:.80}")
        try:
            return cls(await connect(context.kubeconfig, context.kube_context), namespace, name)
        except NoCluster as error:
            raise RotationRefused(str(error)) from None

    async def load(self) -> dict[str, bytes]:
        """See ``CaPlace``."""
        data = (await self._get()).get("data") or {}
        return {name: b64decode(value) for name, value in sorted(data.items())}

    async def save(self, changes: Mapping[str, bytes | None]) -> None:
        """See ``CaPlace``."""
        secret = await self._get()
        data: dict[str, str] = dict(secret.get("data") or {})
        for name, value in changes.items():
            data.pop(name, None)
            if value is not None:
                data[name] = b64encode(value).decode("ascii")
        # With the version that was read: of two who change it at once, one fails and does it again.
        await self._call("PUT", {**secret, "data": data})

    async def close(self) -> None:
        """Close the connection."""
        await self._api.close()

    async def _get(self) -> dict[str, Any]:
        return (await self._call("GET", None)).body

    async def _call(self, method: str, body: dict[str, Any] | None) -> Answer:
        try:
            answer = await self._api.call(method, self._path, _SECONDS, body)
        except ApiUnavailable as error:
            raise RotationRefused(f"Secret {self._name}: {error}") from None
        if answer.status != 200:
            raise RotationRefused(f"Secret {self._name}: HTTP {answer.status}: {reason_of(answer)}")
        return answer
