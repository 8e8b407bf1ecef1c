"""The cluster as a process: started, stopped, frozen and killed, with a deadline on every wait."""

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.cluster import build
from tests.cluster.kubeconfig import Access
from tests.cluster.poll import until

START_LIMIT = 90.0
"""Seconds. It takes 3-5 on an idle machine, and many times that beside a compiler."""
STOP_LIMIT = 40.0
"""Seconds. It takes about 1; the program gives itself 10."""


class ClusterError(RuntimeError):
    """The process did not do as told; the text ends with the last lines of its log."""


class Cluster:
    """One etcd + kube-apiserver (+ cert-manager) over a directory, which keeps the data between starts.

    A port that was not given is chosen at the first start and then kept, so that clients find a restarted server.
    As a context manager it stops at the end of the block. It also ends with this process, however that one dies.
    """

    def __init__(
        self, directory: Path, *, cert_manager: bool = False, audit: bool = False, port: int | None = None
    ) -> None:
        self.directory = directory
        self.cert_manager = cert_manager
        self.audit = audit
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it is there while the cluster is, or was, ready."""
        return self.directory / "kubeconfig"

    @property
    def ca_file(self) -> Path:
        """PEM of the certificates that vouch for the API server, for clients that want a file."""
        return self.directory / "apiserver.crt"

    @property
    def log(self) -> Path:
        """What all parts of the cluster log, over all starts."""
        return self.directory / "cluster.log"

    @property
    def audit_log(self) -> Path:
        """One JSON line per finished API call, if `audit` is on."""
        return self.directory / "audit.log"

    @property
    def service_account_key(self) -> Path:
        """The private key that signs service account tokens, in PEM: it can make tokens the API would not issue."""
        return self.directory / "service-account.key"

    @property
    def running(self) -> bool:
        """Whether the process lives, be it ready, paused or still starting."""
        return self._process is not None and self._process.poll() is None

    def start(self, deadline: float = START_LIMIT) -> Self:
        """Build if needed, start, and return once the API server (and cert-manager) work.

        Raises:
            BuildError: the program cannot be built.
            ClusterError: it runs already, ended early, or was not ready within `deadline` seconds.
        """
        if self.running:
            raise ClusterError(f"the cluster in {self.directory} runs already")
        program = build.binary()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.kubeconfig.unlink(missing_ok=True)
        self._process = self._spawn(program)
        try:
            until(self._is_ready, deadline=deadline, what=f"the cluster in {self.directory}")
        except BaseException as error:
            self.kill()
            if isinstance(error, TimeoutError):
                raise ClusterError(f"{error}\n{self.tail()}") from error
            raise
        self.port = urlsplit(Access.load(self.kubeconfig).server).port
        return self

    def stop(self, deadline: float = STOP_LIMIT) -> None:
        """End the process in good order; no error if it does not run, and a paused one is woken first.

        Raises:
            ClusterError: it had to be killed after `deadline` seconds.
        """
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)
        try:
            self.wait(deadline)
        except TimeoutError as error:
            self.kill()
            raise ClusterError(f"killed, for it did not stop: {error}\n{self.tail()}") from error
        self._forget()

    def kill(self) -> None:
        """End the process at once, as a power cut would (except that what it wrote is kept)."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_LIMIT)
        self._forget()

    def pause(self) -> None:
        """Freeze the process: connections stay open and are even accepted, but nothing answers.

        Raises:
            ClusterError: it does not run.
        """
        process = self._alive()
        process.send_signal(signal.SIGSTOP)
        # The signal reaches the threads one by one; only the kernel knows when the last one stands still.
        flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        until(lambda: os.waitid(os.P_PID, process.pid, flags), deadline=STOP_LIMIT, what="the cluster to freeze")

    def resume(self) -> None:
        """Let a paused process go on.

        Raises:
            ClusterError: it does not run.
        """
        self._alive().send_signal(signal.SIGCONT)

    def wait(self, deadline: float | None = None) -> int:
        """Wait until the process has ended, and return its exit code.

        Raises:
            ClusterError: it was never started.
            TimeoutError: it still runs after `deadline` seconds.
        """
        if self._process is None:
            raise ClusterError("the cluster was not started")
        try:
            return self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the cluster still runs after {deadline:g} s") from None

    def tail(self, lines: int = 25) -> str:
        """The last lines of the log, for error messages."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(line[:400] for line in self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, program: Path) -> subprocess.Popen[bytes]:
        command = [str(program), "-directory", str(self.directory), "-exit-with-stdin"]
        command += ["-port", str(self.port)] if self.port else []
        command += ["-cert-manager"] if self.cert_manager else []
        command += ["-audit"] if self.audit else []
        with self.log.open("ab") as log:
            # A process group of its own keeps the terminal's Ctrl-C from it. It stays in our session, so that if we die
            # while it is paused, the kernel finds a stopped orphan group and ends it with SIGHUP and SIGCONT.
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0)

    def _is_ready(self) -> bool:
        if not self.running:
            raise ClusterError(f"the cluster in {self.directory} ended while starting\n{self.tail()}")
        return self.kubeconfig.exists()

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.running:
            raise ClusterError(f"no cluster runs in {self.directory}")
        return self._process

    def _forget(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
        self._process = None
