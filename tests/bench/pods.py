"""What a watch of 100,000 pods costs beside one of 100: memory, rate of CSRs, lists under load: `make bench-pods`."""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.bench.pod_api import ISSUER
from tests.bench.pod_follower import BETWEEN, end_watches, forget_peak, memory
from tests.bench.population import Population
from tests.bench.servers import process
from tests.e2e.ca import make_ca
from tests.e2e.process import SignerProcess
from tests.e2e.settings import write_settings
from tests.goclient.run import LoadResult, load
from tests.support.kubeconfig import kubeconfig

FEW, KID, CALLERS = 100, "bench", 64
TARGET_MB, TARGET_RATIO = 100, 0.95


@dataclass(frozen=True, slots=True)
class Side:
    """A cluster of so many pods, and a signer for it."""

    server: str
    access: Path
    signer: SignerProcess

    def measure(self, calls: int) -> LoadResult:
        """Send CSRs, each a new one, of pods here and there in the cluster."""
        folder, signer = self.access.parent, self.signer
        flags: list[str | Path] = ["-addr", signer.grpc, "-root", signer.roots, "-pid", str(signer.pid)]
        flags += ["-token-file", folder / "tokens", "-san-file", folder / "names", "-cluster", "Kubernetes"]
        flags += ["-n", str(calls), "-concurrency", "32", "-conns", "8", "-warmup", "200", "-key", "ec"]
        return load(*flags)


@contextmanager
def side(folder: Path, count: int, rate: float, key: rsa.RSAPrivateKey) -> Iterator[Side]:
    """Both, until the end of the block."""
    folder.mkdir()
    public = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": KID, "alg": "RS256", "use": "sig"}
    (folder / "jwks").write_text(json.dumps({"keys": [public]}))
    _write_callers(folder, Population(count), key)
    make_ca(folder / "ca")
    command = [sys.executable, "-m", "tests.bench.pod_api", str(count), str(rate), str(folder / "jwks")]
    ready = folder / "api.json"
    with process("API", [*command, str(ready)], ready, folder / "api.log") as told:
        server = f"http://127.0.0.1:{told['port']}"
        access = kubeconfig(folder / "access", server, "token")
        clusters = [{"id": "Kubernetes", "kubeconfig": str(access), "tokens": "offline"}]
        config = write_settings(folder / "signer", folder / "ca", access, {"clusters": clusters})
        with SignerProcess(folder / "signer", ["--config", config], folder / "ca" / "root-cert.pem") as signer:
            # It is ready after ten seconds, whether or not all is known by then.
            told_all = f"pods of cluster Kubernetes: {count} known"
            while told_all not in signer.admin("/readyz?verbose").body:
                time.sleep(0.2)
            yield Side(server, access, signer)


def _write_callers(folder: Path, population: Population, key: rsa.RSAPrivateKey) -> None:
    places = [population.place(n) for n in random.sample(range(population.count), CALLERS)]
    now = int(time.time())
    base = {"iss": ISSUER, "aud": ["istio-ca"], "iat": now, "nbf": now, "exp": now + 7200}
    tokens = []
    for place in places:
        subject = f"system:serviceaccount:{place.namespace}:{place.account}"
        claims = {**base, "sub": subject, "kubernetes.io": place.claims()}
        tokens.append(jwt.encode(claims, key, "RS256", headers={"kid": KID}))
    (folder / "tokens").write_text("\n".join(tokens) + "\n")
    (folder / "names").write_text("\n".join(place.identity for place in places) + "\n")


def follow(at: Side, relists: int) -> dict[str, Any]:
    """What a process that does nothing else pays for the pods."""
    command = [sys.executable, "-m", "tests.bench.pod_follower", str(at.access), at.server, str(relists)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(few: Side, many: Side, rounds: int, calls: int) -> dict[str, Any]:
    """CSRs a second of both, in turn."""
    rates: dict[str, list[float]] = {few.server: [], many.server: []}
    for number in range(rounds):
        for each in (few, many) if number % 2 else (many, few):
            result = each.measure(calls)
            if result["failed"]:
                raise SystemExit(f"{result['failed']} calls failed: {result['errors']} {result['first_error']}")
            rates[each.server].append(result["rps"])
    less, more = rates[few.server], rates[many.server]
    ratios = sorted(m / f for f, m in zip(less, more, strict=True))
    return {
        "few_csr_s": round(median(less)),
        "many_csr_s": round(median(more)),
        "ratio": round(median(ratios), 3),
        "ratio_from_to": [round(ratios[0], 3), round(ratios[-1], 3)],
    }


def relist_under_load(many: Side, relists: int, calls: int) -> dict[str, Any]:
    """Have all listed again and again while CSRs come; memory is the whole server's."""
    calm = _fared(many.measure(calls))
    before = memory(many.signer.pid)
    forget_peak(many.signer.pid)
    with ThreadPoolExecutor(1) as threads:
        loading, forced = threads.submit(many.measure, calls), 0
        while not loading.done() and forced < relists:
            time.sleep(BETWEEN / 4)
            end_watches(many.server)
            forced += 1
            time.sleep(BETWEEN)
        listed = _fared(loading.result())
    peak = memory(many.signer.pid, "VmHWM")
    figures = {"forced": forced, "calls": calls, "server_mb": round(before, 1), "peak_mb": round(peak, 1)}
    return {"calm": calm, "listed": listed, **figures}


def _fared(result: LoadResult) -> dict[str, float]:
    times = {"p50_ms": result["p50_ms"], "p99_ms": result["p99_ms"], "max_ms": result["max_ms"]}
    return {"failed": result["failed"], "csr_s": round(result["rps"])} | {k: round(v, 1) for k, v in times.items()}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all."""
    key = rsa.generate_private_key(65537, 2048)
    with tempfile.TemporaryDirectory(prefix="istio-signer-bench-") as name, ExitStack() as stack:
        few, many = (
            stack.enter_context(side(Path(name) / str(count), count, args.events, key)) for count in (FEW, args.pods)
        )
        alone = {"few": follow(few, 1), "many": follow(many, args.relists)}
        cost = {k: round(alone["many"][k] - alone["few"][k], 1) for k in ("steady_mb", "relist_peak_mb", "after_mb")}
        rate = compare(few, many, args.rounds, args.calls)
        servers = {"few_mb": round(memory(few.signer.pid), 1), "many_mb": round(memory(many.signer.pid), 1)}
        return {"alone": alone, "cost": cost, "servers": servers, "rate": rate} | {
            "relist_under_load": relist_under_load(many, args.relists, args.calls * 10)
        }


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="tests.bench.pods", description=__doc__)
    parser.add_argument("--pods", type=int, default=100_000, help="of the large cluster (default: 100000)")
    parser.add_argument("--events", type=float, default=50.0, help="changes of pods a second (default: 50)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each rate (default: 7)")
    parser.add_argument("--calls", type=int, default=3000, help="CSRs in one measurement (default: 3000)")
    parser.add_argument("--relists", type=int, default=3, help="lists that are forced, each time (default: 3)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    args = parser.parse_args()
    results = run(args)
    if args.output == "json":
        print(json.dumps(results, indent=2))
        return
    alone = {f"alone, {name}": figures for name, figures in results.pop("alone").items()}
    for part, figures in {**alone, **results}.items():
        print(part.replace("_", " "))
        for name, value in figures.items():
            print(f"  {name.replace('_', ' '):<20} {value}")
    print(f"targets: cost of at most {TARGET_MB} MB, a ratio of at least {TARGET_RATIO}, no call failed")


if __name__ == "__main__":
    main()
