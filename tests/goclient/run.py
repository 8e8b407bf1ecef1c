"""Run the Go client from a test: what it prints comes back as a typed dictionary.

The calls block. A test whose server lives in its own event loop takes `await asyncio.to_thread(agent, ...)`.
"""

import json
import subprocess
from pathlib import Path
from typing import Any, TypedDict, cast

from tests.goclient.build import binary


class Handshake(TypedDict):
    """What TLS agreed on, in Go's names: `TLS 1.3`, `TLS_AES_128_GCM_SHA256`, `X25519MLKEM768`, `h2`."""

    version: str
    cipher: str
    curve: str
    alpn: str


class GoAway(TypedDict):
    """A GOAWAY frame: HTTP/2 error name and debug text."""

    code: str
    debug: str


class Hold(TypedDict):
    """How a connection fared that was kept open; `reason` is the read error that ended it."""

    seconds: float
    pings: int
    ping_acks: int
    goaways: list[GoAway]
    enhance_your_calm: bool
    disconnected: bool
    reason: str
    stream_code: str
    stream_text: str


class AgentResult(TypedDict):
    """One CSR. `code` is Go's name of the last gRPC code (`OK`, `PermissionDenied`); `gave_up` means -guard struck."""

    code: str
    text: str
    attempts: int
    attempt_codes: list[str]
    gave_up: bool
    seconds: float
    chain: list[str]
    tls: Handshake | None
    handshake_error: str
    hold: Hold | None


class LoadResult(TypedDict):
    """A load. Latencies and rps count successful calls only; `errors` is by gRPC code or `ShortChain`."""

    n: int
    ok: int
    failed: int
    seconds: float
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]
    first_error: str
    warmup_errors: int
    distinct_csrs: int
    cpu_ms_per_call: float | None
    tls: Handshake | None
    handshake_error: str


class GoClientError(RuntimeError):
    """The client could not run: a wrong flag, an unreadable file, or no end within the time allowed."""


def run(subcommand: str, *args: str | Path, timeout: float = 120.0) -> dict[str, Any]:
    """Run one verb and give its JSON object; timeout is in seconds, after which the process is killed.

    Raises:
        GoClientError: the client did not run to its end. A refusal by the server is a result, not an error.
        GoBuildError: it could not be built.
    """
    command = [binary(), subcommand, *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise GoClientError(f"goclient {subcommand} did not end within {timeout:g} s") from None
    if done.returncode != 0:
        raise GoClientError(f"goclient {subcommand} ({done.returncode}): {done.stderr.strip()[-2000:]}")
    return cast(dict[str, Any], json.loads(done.stdout))


def agent(*args: str | Path, timeout: float = 120.0) -> AgentResult:
    """Send one CSR as the Istio agent or ztunnel does. Flags: `goclient agent -h`. Raises as run does."""
    return cast(AgentResult, run("agent", *args, timeout=timeout))


def load(*args: str | Path, timeout: float = 600.0) -> LoadResult:
    """Send many CSRs and measure. Flags: `goclient load -h`. Raises as run does."""
    return cast(LoadResult, run("load", *args, timeout=timeout))
