"""The command line as a user has it: a process, its exit code and its two streams."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM: tuple[str, ...] = (sys.executable, "-m", "signer.cli.main")
TIMEOUT_S = 60.0

_OURS = ("ISTIO_SIGNER_", "KUBERNETES_", "VAULT_")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What was printed, which must be one JSON document and nothing else."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without anything that could configure a signer, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **more}


def istio_signer(
    *arguments: str | Path,
    program: Sequence[str] = PROGRAM,
    timeout: float = TIMEOUT_S,
    cwd: Path = ROOT,
    variables: dict[str, str] | None = None,
) -> Done:
    """Run one verb to its end; after `timeout` seconds the process is killed and the test fails."""
    done = subprocess.run(
        [*program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=environment(**(variables or {})),
        stdin=subprocess.DEVNULL,
    )
    return Done(done.returncode, done.stdout, done.stderr)
