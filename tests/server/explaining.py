"""The command ``explain`` in this process, beside a real API server; nothing may be signed or counted by it."""

import gc
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.local.backend import LocalBackend
from signer.cli.main import main
from signer.issue.quota import Quotas
from tests.server import cas
from tests.server.sides import PROXIES, SHOP, Side

NODE = "explain-1"
FAR = {"id": "far", "trust_domain": "far.example", "audiences": ["far-ca"], "aliases": ["far-away"]}


@dataclass
class Desk:
    """An operator with a configuration."""

    near: Side
    place: Path
    mode: str
    capsys: pytest.CaptureFixture[str]
    more: dict[str, Any] = field(default_factory=dict)

    def proxy(self, account: str = "ztunnel") -> str:
        """The token of a node's proxy."""
        return self.near.token(account, node=NODE, namespace=PROXIES)

    def workload(self, account: str, node: str = NODE) -> str:
        """Start a pod; give its identity."""
        self.near.pod(account, node=node)
        return self.near.identity(account)

    def token(self, token: str, *options: str) -> tuple[int, dict[str, Any]]:
        """What the command says of a token."""
        path = self.place / "token"
        path.write_text(token)
        return self.explain("--token-file", str(path), *options)

    def explain(self, *options: str) -> tuple[int, dict[str, Any]]:
        """The command's exit code and what it prints for programs."""
        code = self._run(*options, "-o", "json")
        return code, json.loads(self.capsys.readouterr().out)

    def misused(self, *options: str) -> str:
        """What it complains of where its options or files cannot be used."""
        assert self._run(*options) == 2
        return self.capsys.readouterr().err

    def _run(self, *options: str) -> int:
        code = main(["explain", "--config", str(self._config()), *options])
        # A watch that is cancelled early may leave its connection half closed. The command's process ends with that; in
        # this one it would be found later, in another test.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        return code

    def _config(self) -> Path:
        cluster = {"kubeconfig": str(self.place / f"kubeconfig-{self.near.name}"), "tokens": self.mode}
        path = self.place / "config.yaml"
        config = {
            "clusters": [{"id": self.near.name, **cluster, "aliases": ["nearby"]}, {**cluster, **FAR}],
            "ambient": {"trusted_node_accounts": [f"{PROXIES}/ztunnel"]},
            "backends": {"local": {"type": "local", "directory": str(self.place / "ca")}},
            "quotas": {"enabled": True, "identity": {"rate": 0.001, "burst": 1}},
        }
        path.write_text(yaml.safe_dump(config | self.more))
        return path


@contextmanager
def explaining(near: Side, place: Path, mode: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    """A desk whose cluster judges tokens by a mode. At the end, nobody has been signed for and no quota was used."""
    done: list[str] = []
    near.kube.create_namespace(SHOP)
    near.kubeconfig(place, f"explain-{mode}")
    cas.init(place / "ca")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalBackend, "sign", lambda *_: done.append("signed"))
        patched.setattr(Quotas, "take", lambda *_: done.append("counted"))
        yield Desk(near, place, mode, capsys)
    assert done == []
