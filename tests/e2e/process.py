"""A signer that runs: started, watched, ended. Every wait has a deadline, and none outlives its block."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.poll import until
from tests.e2e.command import PROGRAM, ROOT, environment
from tests.mesh.web import Reply, fetch

START_LIMIT = 45.0
"""Seconds. It takes one on an idle machine."""
STOP_LIMIT = 20.0
"""Seconds that SIGTERM may take: Kubernetes kills after 30."""


class SignerError(RuntimeError):
    """The process did not do as told; the text ends with its log."""


class SignerProcess:
    """A context manager: inside it `istio-signer serve` runs and takes requests.

    Args:
        folder: Gets its log, its audit and its ready file.
        arguments: Those of `serve`, without the ready file.
        roots: What its clients verify it with.
        program: The command before the verb.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str | Path],
        roots: Path,
        *,
        program: Sequence[str] = PROGRAM,
        variables: dict[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.folder = folder
        self.roots = roots
        self.log_file = folder / "signer.log"
        self.audit_file = folder / "audit.jsonl"
        self._ready = folder / "ready.json"
        self._command = [*program, "serve", *map(str, arguments), "--ready-file", str(self._ready)]
        self._environment = environment(**(variables or {}))
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, deadline: float = START_LIMIT) -> Self:
        """Start, and return once requests can come.

        Raises:
            SignerError: It ended, or was not ready within `deadline` seconds.
        """
        self.spawn()
        try:
            until(self._is_ready, deadline=deadline, what="the signer's ready file")
        except BaseException as error:
            self.kill()
            if isinstance(error, TimeoutError):
                raise self.error(str(error)) from None
            raise
        self._ports = json.loads(self._ready.read_text())
        return self

    def spawn(self) -> None:
        """Start and return at once."""
        self._ready.unlink(missing_ok=True)
        with self.log_file.open("ab") as log, (self.folder / "stdout").open("ab") as out:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=self._cwd, env=self._environment
            )

    @property
    def grpc(self) -> str:
        """`host:port` for proxies."""
        return f"127.0.0.1:{self._ports['grpc_port']}"

    @property
    def http_port(self) -> int:
        """The port for probes and metrics."""
        return self._ports["http_port"]

    @property
    def pid(self) -> int:
        """The process id that the ready file tells."""
        return self._ports["pid"]

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def admin(self, path: str) -> Reply:
        """GET from the admin port."""
        return fetch(self.http_port, path)

    def log(self) -> str:
        """The whole log so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_log(self, text: str, count: int = 1, deadline: float = 15.0) -> None:
        """Wait until the log holds a text so many times.

        Raises:
            SignerError: It does not within `deadline` seconds.
        """
        try:
            until(lambda: self.log().count(text) >= count, deadline=deadline, what=f"{text!r} x{count} in the log")
        except TimeoutError as error:
            raise self.error(str(error)) from None

    def audit(self) -> list[dict[str, Any]]:
        """All decisions so far; the last ones may take a moment to appear."""
        lines = self.audit_file.read_text().splitlines(keepends=True) if self.audit_file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def decision(self, **fields: Any) -> dict[str, Any]:
        """The one audited decision with these fields; lines are written a moment after the answer.

        Raises:
            SignerError: There is none within 10 seconds, or more than one.
        """

        def found() -> list[dict[str, Any]]:
            return [event for event in self.audit() if fields.items() <= event.items()]

        try:
            events = until(found, deadline=10.0, what=f"a decision with {fields}")
        except TimeoutError as error:
            raise self.error(str(error)) from None
        if len(events) > 1:
            raise self.error(f"{len(events)} decisions with {fields}")
        return events[0]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, deadline: float = STOP_LIMIT) -> int:
        """Wait for the end, and give the exit code.

        Raises:
            SignerError: It still runs after `deadline` seconds.
        """
        if self._process is None:
            raise SignerError("the signer was never started")
        try:
            return self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise self.error(f"still runs after {deadline:g} s") from None

    def terminate(self, deadline: float = STOP_LIMIT) -> int:
        """End it in good order, and give the exit code. Errors: see `wait`."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline)

    def kill(self) -> None:
        """End it at once; no error if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_LIMIT)

    def error(self, text: str) -> SignerError:
        """Make an error that shows the end of the log."""
        return SignerError(f"signer in {self.folder.name}: {text}\n{self.log()[-4000:]}")

    def _is_ready(self) -> bool:
        if not self.running:
            raise self.error("ended while starting")
        return self._ready.exists()
