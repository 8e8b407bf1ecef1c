"""``istio-signer demo``: the main job on this machine, for people to watch."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from signer.cli.common import OK, Failure, number_between, whole_number
from signer.cli.handshake import handshake
from signer.cli.request import describe, development_token
from signer.client.call import BadRoots, CallFailed, CertificateCall, Endpoint, create_certificate
from signer.client.workload import Received, new_csr, write_files
from signer.core.identity import SpiffeId
from signer.core.validity import renew_at

FRONTEND = SpiffeId.parse("spiffe://cluster.local/ns/demo/sa/frontend")
BACKEND = SpiffeId.parse("spiffe://cluster.local/ns/demo/sa/backend")
_START_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--directory", type=Path, help="keep the CA and certificates there (default: a temporary one)")
    parser.add_argument(
        "--ttl", type=whole_number(1, 86400), default=12, metavar="SECONDS", help="of the certificate that is rotated"
    )
    parser.add_argument("--grace-ratio", type=number_between(0, 1), default=0.5, metavar="RATIO", help="default: 0.5")
    parser.add_argument(
        "--rotations", type=whole_number(0, 1000), default=2, metavar="N", help="how many to watch (default: 2)"
    )


@dataclass(frozen=True, slots=True)
class _Running:
    """A development server of the demo's own."""

    endpoint: Endpoint
    admin: str


@dataclass(frozen=True, slots=True)
class _Workload:
    """One side of the demo and where its files are."""

    identity: SpiffeId
    directory: Path
    received: Received


def run(args: argparse.Namespace) -> int:
    """Issue, rotate, shake hands.

    Raises:
        Failure: Anything did not work.
    """
    # Ended from outside, it ends its server too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _directory(args.directory) as directory, _server(directory) as running:
        _say(f"1. a development signer runs at {running.endpoint.address}; its CA is in {directory / 'ca'}")
        frontend = _obtain(running, FRONTEND, directory, args.ttl)
        backend = _obtain(running, BACKEND, directory, 3600)
        for number, workload in ((2, frontend), (3, backend)):
            _say(f"{number}. certificate for {workload.identity}")
            print("\n".join(f"   {line}" for line in describe(workload.received, datetime.now(UTC))))
        _say(
            f"4. {FRONTEND.service_account} renews with {args.grace_ratio:.0%} of its life left, {args.rotations} times"
        )
        for _ in range(args.rotations):
            frontend = _rotate(running, frontend, args)
        _say("5. mutual TLS between the two, each checking the other's identity")
        seen = handshake(frontend.directory, backend.directory)
        print(f"   the server saw  {seen.client}\n   the client saw  {seen.server}\n   with            {seen.cipher}")
        if (seen.client, seen.server) != (str(FRONTEND), str(BACKEND)):
            raise Failure("the handshake showed other identities than those issued")
    _say("done: issued, rotated, proven")
    return OK


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


@contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="istio-signer-demo-") as temporary:
        yield Path(temporary)


@contextmanager
def _server(directory: Path) -> Iterator[_Running]:
    """Run ``serve --development`` on free ports; its log goes to a file."""
    ready, ca = directory / "ready.json", directory / "ca"
    directory.mkdir(parents=True, exist_ok=True)
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "signer.cli.main", "serve", "--development", "--directory", str(ca)]
    command += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", str(ready)]
    with (directory / "serve.log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:  # noqa: S603
        try:
            ports = _wait_ready(ready, process, directory / "serve.log")
            endpoint = Endpoint(f"127.0.0.1:{ports['grpc_port']}", ca / "root-cert.pem")
            yield _Running(endpoint, f"http://127.0.0.1:{ports['http_port']}")
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_ready(ready: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, int]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ready.exists():
            ports: dict[str, int] = json.loads(ready.read_text(encoding="ascii"))
            return ports
        time.sleep(0.05)
    raise Failure(f"the development server did not start:\n{log.read_text(encoding='utf-8')}")


def _obtain(running: _Running, identity: SpiffeId, directory: Path, ttl: int) -> _Workload:
    made = new_csr(identity, "p256")
    call = CertificateCall(made.csr, development_token(running.admin, identity), ttl)
    try:
        received = Received.of(create_certificate(running.endpoint, call))
    except (CallFailed, BadRoots, ValueError) as error:
        raise Failure(f"no certificate for {identity}: {error}") from None
    own = directory / identity.service_account
    write_files(own, made.key_pem, received)
    return _Workload(identity, own, received)


def _rotate(running: _Running, workload: _Workload, args: argparse.Namespace) -> _Workload:
    """Wait for the moment that the grace ratio says, with a countdown, then renew while the old one is still good."""
    due = renew_at(workload.received.window, args.grace_ratio)
    while (left := (due - datetime.now(UTC)).total_seconds()) > 0:
        if sys.stdout.isatty():
            print(f"\r   renewal in {left:4.1f} s ", end="", flush=True)
        time.sleep(min(left, 0.2))
    renewed = _obtain(running, workload.identity, workload.directory.parent, args.ttl)
    old, new = workload.received, renewed.received
    left = (old.window[1] - datetime.now(UTC)).total_seconds()
    print(f"\r   {datetime.now(UTC):%H:%M:%S} serial {old.leaf.serial_number:x}"[:34], end="")
    print(f"... -> {new.leaf.serial_number:x}"[:19], end="")
    print(f"..., valid to {new.window[1]:%H:%M:%S}; the old one had {left:.1f} s left")
    return renewed
