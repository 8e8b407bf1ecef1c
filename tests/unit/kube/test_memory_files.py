"""Keys of foreign kubeconfigs reach no disk."""

import base64
import os
import tempfile
from pathlib import Path

import pytest

from signer.kube.connect import open_client_from
from signer.kube.memory_files import in_memory
from signer.kube.no_cluster import NoCluster
from tests.support.pki import Ca, key, key_pem, leaf_extensions, make_ca, make_leaf, spki


def _data(data: bytes) -> str:
    return base64.b64encode(data).decode()


CLIENT = key("p256/client")
ROOT = make_ca("root")
LEAF = Ca(make_leaf(ROOT, spki(CLIENT), leaf_extensions()), CLIENT)
CONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "far", "user": "me"}}],
    "clusters": [
        {"name": "far", "cluster": {"server": "https://far.example", "certificate-authority-data": _data(ROOT.pem)}}
    ],
    "users": [
        {
            "name": "me",
            "user": {"client-certificate-data": _data(LEAF.pem), "client-key-data": _data(key_pem(CLIENT))},
        }
    ],
}


def test_files_for_as_long_as_they_are_needed() -> None:
    """And all else as it was."""
    with in_memory(CONFIG) as config:
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        assert Path(user["client-key"]).read_bytes() == key_pem(CLIENT)
        assert Path(cluster["certificate-authority"]).read_bytes() == ROOT.pem
        assert cluster["server"] == "https://far.example"
        opened = Path(user["client-key"])
    assert not opened.exists()
    assert "client-key-data" in CONFIG["users"][0]["user"]  # type: ignore[index]


async def test_a_client_is_made_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a read-only root; and no descriptor is left open."""

    def no_space(*_: object, **__: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(tempfile, "mkstemp", no_space)
    before = len(os.listdir("/proc/self/fd"))
    client = await open_client_from(CONFIG)
    await client.close()  # type: ignore[no-untyped-call]
    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_what_is_no_base64() -> None:
    """Named by its key."""
    users = [{"name": "me", "user": {"client-key-data": "%secret%"}}]
    with pytest.raises(NoCluster, match="client-key-data: not base64") as refusal:
        await open_client_from({**CONFIG, "users": users})
    assert "secret" not in str(refusal.value)
