"""cert-manager's controllers as a process of their own, to be stopped while the API server goes on."""

import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import build
from tests.cluster.poll import until

START_LIMIT = 60.0
"""Seconds. It takes 2 on an idle machine."""
STOP_LIMIT = 20.0


class CertManager:
    """A context manager: inside it the controllers run, for a cluster that was started without its own.

    Args:
        directory: Gets its log and its ready file.
        kubeconfig: The administrator's, of the cluster to work for.
    """

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        self._directory = directory
        self._kubeconfig = kubeconfig
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and return once its caches are filled.

        Raises:
            RuntimeError: It ended early; the text shows its log.
            TimeoutError: It was not ready within `START_LIMIT` seconds.
        """
        program = build.binary()
        self._directory.mkdir(parents=True, exist_ok=True)
        ready = self._directory / "ready"
        ready.unlink(missing_ok=True)
        command = [str(program), "-directory", str(self._directory), "-exit-with-stdin"]
        command += ["-only-cert-manager", str(self._kubeconfig)]
        with (self._directory / "cert-manager.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0, cwd=self._directory
            )
        until(lambda: self._started(ready), deadline=START_LIMIT, what="cert-manager")
        return self

    def pause(self) -> None:
        """Freeze it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; no error if it does not run."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_LIMIT)
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _started(self, ready: Path) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = (self._directory / "cert-manager.log").read_text(errors="replace")
            raise RuntimeError(f"cert-manager ended while starting\n{log[-3000:]}")
        return ready.exists()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("cert-manager does not run")
        self._process.send_signal(number)
