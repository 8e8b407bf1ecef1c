"""Starts what is measured: the signer in development mode, and the null server beside it."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from backends.local.backend import LocalBackend, LocalSettings
from signer.cli.request import development_token
from signer.client.call import CertificateCall, Endpoint, create_certificate
from signer.client.workload import new_csr
from signer.core.identity import SpiffeId
from signer.core.spec import BackendContext
from signer.core.types import Secret, ServerNames
from signer.observe.health import Health
from signer.runtime.clock import SystemClock
from signer.trust.bundle import LiveBundle
from signer.trust.serving import KeyPair
from signer.trust.serving_sources import FromBackend, ServingPlan

IDENTITY = SpiffeId.parse("spiffe://cluster.local/ns/bench/sa/load")
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server under measurement."""

    name: str
    address: str
    pid: int
    roots: Path


@contextmanager
def process(name: str, command: list[str], ready: Path, log: Path) -> Iterator[dict[str, int]]:
    """Run a server until the end of the block; give what its ready file tells."""
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield _wait(name, process, ready, log)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(name: str, process: subprocess.Popen[bytes], ready: Path, log: Path) -> dict[str, int]:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ready.exists() and (text := ready.read_text(encoding="ascii")):
            ports: dict[str, int] = json.loads(text)
            return ports
        time.sleep(0.05)
    raise RuntimeError(f"the {name} server did not start:\n{log.read_text(encoding='utf-8')}")


@contextmanager
def signer(directory: Path) -> Iterator[tuple[Running, Path]]:
    """A development signer with its defaults, and a file with a token for it."""
    ca, ready = directory / "ca", directory / "signer.json"
    command = [sys.executable, "-m", "signer.cli.main", "serve", "--development", "--directory", str(ca)]
    command += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", str(ready)]
    with process("signer", command, ready, directory / "signer.log") as ports:
        token = directory / "token"
        token.write_text(development_token(f"http://127.0.0.1:{ports['http_port']}", IDENTITY).reveal())
        yield Running("signer", f"127.0.0.1:{ports['grpc_port']}", ports["pid"], ca / "root-cert.pem"), token


@contextmanager
def null(directory: Path, beside: Running, token: Path) -> Iterator[Running]:
    """A null server with a serving certificate like the signer's, that answers what the signer answered."""
    pair = asyncio.run(_serving_pair(beside.roots.parent))
    files = {"null-key.pem": pair.key_pem, "null-chain.pem": pair.chain_pem}
    files["answer.json"] = json.dumps(_ask(beside, Secret(token.read_text(encoding="ascii")))).encode()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    ready = directory / "null.json"
    command = [sys.executable, "-m", "tests.bench.null_server", *(str(directory / name) for name in files), str(ready)]
    with process("null", command, ready, directory / "null.log") as ports:
        yield Running("null RPC", f"127.0.0.1:{ports['grpc_port']}", ports["pid"], beside.roots)


async def _serving_pair(ca: Path) -> KeyPair:
    clock = SystemClock()
    backend = LocalBackend(LocalSettings(ca), BackendContext("local", clock))
    await backend.start()
    plan = ServingPlan(ServerNames(("localhost",), (ip_address("127.0.0.1"),)), timedelta(hours=24), 0.5)
    return await FromBackend(backend, LiveBundle([backend], Health(()), clock), plan, clock).obtain()


def _ask(server: Running, token: Secret) -> list[str]:
    call = CertificateCall(new_csr(IDENTITY, "p256").csr, token)
    return create_certificate(Endpoint(server.address, server.roots), call)
