"""CA directories, good and bad, valid now."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from backends.local.init import CaPlan, plan_files
from signer.core.validity import Window
from tests.support.pki import Ca, key_pem

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def around_now(end: timedelta = 10 * DAY) -> Window:
    """From yesterday to ``end`` from now."""
    now = datetime.now(UTC).replace(microsecond=0)
    return now - DAY, now + end


def init(directory: Path, key_type: str = "p256") -> Path:
    """What `istio-signer init` makes: a root and an intermediate; returns the directory."""
    plan = CaPlan(directory, directory / "offline", "cluster.local", key_type)
    put(directory, {path.name: data for path, data in plan_files(plan, datetime.now(UTC)).items() if _mounted(path)})
    return directory


def issuer(directory: Path) -> Ca:
    """The intermediate of a directory that `init` has made."""
    private = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
    return Ca(x509.load_pem_x509_certificate((directory / "ca-cert.pem").read_bytes()), private)  # type: ignore[arg-type]


def _mounted(path: Path) -> bool:
    return path.parent.name != "offline"


def cacerts(signing: Ca, roots: Sequence[Ca], above: Sequence[Ca] = ()) -> dict[str, bytes]:
    """The files of a CA under the ``cacerts`` names; ``above`` are the intermediates over the signing one."""
    return {
        "root-cert.pem": b"".join(root.pem for root in roots),
        "cert-chain.pem": b"".join(ca.pem for ca in (signing, *above, *roots)),
        "ca-cert.pem": signing.pem,
        "ca-key.pem": key_pem(signing.key),
    }


def put(directory: Path, files: dict[str, bytes]) -> Path:
    """Write files, each whole or not at all, one after the other as a careless tool would; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        partial = directory / f".{name}.partial"
        partial.write_bytes(data)
        partial.rename(directory / name)
    return directory


def mount(directory: Path, files: dict[str, bytes]) -> Path:
    """Write files as kubelet mounts a Secret: links into ``..data``, which is swapped as one; returns the directory."""
    version = directory / f"..{datetime.now(UTC).timestamp()}"
    put(version, files)
    link = directory / "..data_tmp"
    link.symlink_to(version.name)
    link.rename(directory / "..data")
    for name in files:
        if not (directory / name).is_symlink():
            os.symlink(f"..data/{name}", directory / name)
    return directory


__all__ = ["DAY", "SECOND", "Encoding", "around_now", "cacerts", "init", "issuer", "mount", "put"]
