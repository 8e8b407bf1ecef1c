"""The backends beside what their far sides can do at most, everything on this machine: `make bench-backends`.

Vault direct beside h2load on the same signing path; cert-manager direct at 32 in flight and alone; intermediates beside
the local backend, through the whole server. Every CSR is a new one.
"""

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
import yaml

from backends.vault.backend import VaultBackend
from backends.vault.settings import VaultAuth, VaultSettings
from signer.client.workload import new_csr
from signer.core.identity import SpiffeId
from signer.core.spec import BackendContext
from signer.runtime.clock import SystemClock
from tests.bench.servers import Running
from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, account_kubeconfig
from tests.e2e.ca import make_ca
from tests.e2e.process import SignerProcess
from tests.e2e.workload import Workload
from tests.goclient.run import LoadResult, load
from tests.kube_backends.scene import REQUESTS, make_issuer, request
from tests.vault.mounts import policy_token, root_mount
from tests.vault.openbao import OpenBao

LEAVES, CAS = "pki/sign/istio-ca", "pki/root/sign-intermediate"
NAMESPACE = "mesh"


class Place:
    """A cluster with cert-manager, an OpenBao, a CA on disk, and a workload to ask."""

    def __init__(self, folder: Path, kube: Kube, vault: OpenBao) -> None:
        self.folder, self.vault = folder, vault
        kube.create_namespace(NAMESPACE)
        kube.create_namespace("apps")
        issuer = make_issuer(kube, NAMESPACE)
        root_mount(vault)
        self.token = policy_token(vault, folder, LEAVES, CAS)
        make_ca(folder / "ca")
        rights = (CREATE_TOKEN_REVIEWS, REQUESTS)
        self.kubeconfig = account_kubeconfig(kube, folder / "kubeconfig", NAMESPACE, "signer", rights)
        self.workload = Workload.create(kube, "apps", "app", folder)
        local = (folder / "ca" / "root-cert.pem").read_text()
        pki = vault.call("GET", "pki/cert/ca")["data"]["certificate"]
        (folder / "roots.pem").write_text(local + pki + "\n" + "".join(issuer.chain()))

    def sections(self) -> dict[str, dict[str, Any]]:
        """Every way to sign, by the name that is printed."""
        auth = {"method": "token", "token_file": str(self.token)}
        vault = {"type": "vault", "address": self.vault.address, "sign_path": LEAVES, "auth": auth}
        issuer = {"type": "cert-manager", "issuer": {"name": "mesh"}, "namespace": NAMESPACE}
        files = {"type": "local", "directory": str(self.folder / "ca")}
        # init's intermediate may sign leaves only; the root beside it may sign CAs.
        offline = self.folder / "ca" / "offline"
        root = self.folder / "root-ca"
        root.mkdir(exist_ok=True)
        for name, source in (("ca-cert", "root-cert"), ("ca-key", "root-key"), ("root-cert", "root-cert")):
            (root / f"{name}.pem").write_text((offline / f"{source}.pem").read_text())
        minted = {"mode": "intermediate"}
        return {
            "local": files,
            "local, intermediate": {"type": "local", "directory": str(root), **minted},
            "vault, intermediate": {**vault, **minted, "intermediate": {"sign_path": CAS}},
            "cert-manager, intermediate": {**issuer, **minted},
            "vault": vault,
            "cert-manager": {**issuer, "timeout": "8s"},
        }

    @contextmanager
    def signer(self, name: str) -> Iterator[SignerProcess]:
        """A server that signs one way."""
        folder = self.folder / re.sub(r"\W+", "-", name)
        folder.mkdir(exist_ok=True)
        config = {
            "listen": {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
            "clusters": [{"id": "Kubernetes", "kubeconfig": str(self.kubeconfig)}],
            "backends": {"backend": self.sections()[name]},
            "serving": {"dns_names": [], "ip_addresses": ["127.0.0.1"]},
            "logging": {"audit": str(folder / "audit.jsonl")},
            "shutdown": {"delay": "0s", "grace": "2s"},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        with SignerProcess(folder, ["--config", folder / "config.yaml"], self.folder / "roots.pem") as running:
            yield running

    def measure(self, signer: SignerProcess, calls: int, at_once: int) -> LoadResult:
        """Send so many new CSRs, so many at once."""
        server = Running("", signer.grpc, signer.pid, self.folder / "roots.pem")
        flags: list[str | Path] = ["-addr", server.address, "-root", server.roots, "-pid", str(server.pid)]
        flags += ["-token-file", self.workload.token_file, "-san", self.workload.spiffe_id, "-cluster", "Kubernetes"]
        flags += ["-n", str(calls), "-csrs", str(calls), "-concurrency", str(at_once), "-conns", str(min(8, at_once))]
        result = load(*flags, "-warmup", str(min(200, calls // 4)), "-ttl", "3600", "-key", "ec", "-timeout", "20s")
        if result["failed"]:
            raise SystemExit(f"{result['failed']} calls failed: {result['errors']} {result['first_error']}")
        return result


def h2load(place: Place, calls: int, at_once: int) -> float:
    """The server's raw rate on the same path: signatures a second of one and the same CSR over HTTP/1.1."""
    program = shutil.which("h2load")
    if program is None:
        raise SystemExit("NOT MEASURED: h2load is missing; install nghttp2-client")
    (place.folder / "body.json").write_text(json.dumps(_body()))
    command = [program, "--h1", "-n", str(calls), "-c", str(at_once), "-t", "1", "-d", str(place.folder / "body.json")]
    command += ["-H", f"X-Vault-Token: {place.token.read_text()}", "-H", "Content-Type: application/json"]
    command += [f"{place.vault.address}/v1/{LEAVES}"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    good = re.search(r"status codes: (\d+) 2xx", said)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", said)
    if not good or not rate or int(good[1]) != calls:
        raise SystemExit(f"h2load did not get {calls} signatures:\n{said}")
    return float(rate[1])


def _body() -> dict[str, Any]:
    identity = SpiffeId.parse("spiffe://cluster.local/ns/apps/sa/app")
    return {"csr": new_csr(identity, "p256").csr, "ttl": "3600s", "format": "pem", "exclude_cn_from_sans": True}


def row(name: str, results: list[LoadResult]) -> float:
    """Print the medians; give that of the rate."""
    rate, p50, p99 = (statistics.median(float(r[k]) for r in results) for k in ("rps", "p50_ms", "p99_ms"))
    cpu = statistics.median(float(r["cpu_ms_per_call"] or 0.0) for r in results)
    figures = f"{rate:>8.0f} CSR/s   p50 {p50:>7.2f} ms   p99 {p99:>8.2f} ms   {cpu:>6.3f} CPU-ms/CSR"
    print(f"  {name:<28} {figures}", flush=True)
    return rate


def vault_direct(place: Place, rounds: int) -> None:
    """In turn, so that a busy machine is busy for both."""
    print("Vault direct, 16 in flight, beside h2load on the same path of the same OpenBao")
    raw: list[float] = []
    ours: list[LoadResult] = []
    alone: list[float] = []
    with place.signer("vault") as signer:
        for _ in range(rounds):
            raw.append(h2load(place, 4000, 16))
            ours.append(place.measure(signer, 3000, 16))
            alone.append(backend_alone(place, 3000, 16))
    rate, most, own = row("vault, whole server", ours), statistics.median(raw), statistics.median(alone)
    print(f"  {'vault, backend alone':<28} {own:>8.0f} signatures/s, without gRPC, tokens, checks and audit")
    print(f"  {'h2load':<28} {most:>8.0f} signatures/s")
    print(f"  ratio {rate / most:.2f} for the server, {own / most:.2f} for the backend (target: at least 0.5)\n")


def backend_alone(place: Place, calls: int, at_once: int) -> float:
    """What the backend's own code reaches: signatures a second."""
    auth = VaultAuth("token", token_file=place.token)
    settings = VaultSettings(place.vault.address, LEAVES, auth)
    asked = [request() for _ in range(calls)]

    async def sign_all() -> float:
        backend = VaultBackend(settings, BackendContext("vault", SystemClock()))
        await backend.start()
        todo = iter(asked)

        async def work() -> None:
            for each in todo:
                await backend.sign(each)

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        elapsed = time.perf_counter() - begun
        await backend.close()
        return calls / elapsed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(sign_all())


def cert_manager_direct(place: Place, rounds: int) -> None:
    """At 32 in flight, and one alone."""
    print("cert-manager direct")
    with place.signer("cert-manager") as signer:
        row("32 in flight", [place.measure(signer, 600, 32) for _ in range(rounds)])
        row("alone", [place.measure(signer, 20, 1) for _ in range(rounds)])
    print("  targets: at least 85 CSR/s at 32 in flight, at most 200 ms alone\n")


def intermediates(place: Place, rounds: int) -> None:
    """All of them run beside each other, idle but for the one that is measured."""
    print("intermediates beside the local backend, 32 in flight")
    names = [name for name in place.sections() if name == "local" or name.endswith("intermediate")]
    results: dict[str, list[LoadResult]] = {name: [] for name in names}
    for number in range(rounds):
        # Each takes each place once: the first of a round would have the coolest machine otherwise.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            with place.signer(name) as signer:
                results[name].append(place.measure(signer, 4000, 32))
    rates = {name: row(name, results[name]) for name in names}
    for name in names[1:]:
        print(f"  ratio {name}: {rates[name] / rates['local']:.2f} (target: at least 0.95)")


PARTS = {"vault": vault_direct, "cert-manager": cert_manager_direct, "intermediates": intermediates}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--only", choices=PARTS, help="one part only")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="istio-signer-bench-") as name:
        folder = Path(name)
        with (
            Cluster(folder / "cluster", cert_manager=True) as cluster,
            Kube.load(cluster.kubeconfig) as kube,
            OpenBao(folder / "openbao") as vault,
        ):
            place = Place(folder, kube, vault)
            for part, work in PARTS.items():
                if args.only in (None, part):
                    work(place, args.rounds)


if __name__ == "__main__":
    main()
