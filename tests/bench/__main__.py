"""`make bench`: CSRs a second, latency and CPU of the signer, beside a null RPC on the same stack in the same run."""

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.servers import IDENTITY, Running, null, signer
from tests.goclient.run import LoadResult, load

TARGET = 0.4


@dataclass(frozen=True, slots=True)
class Shape:
    """One way of calling."""

    name: str
    key: str
    fresh: bool
    calls: int


SHAPES = (
    Shape("P-256, kept connections", "ec", False, 6000),
    Shape("P-256, new connection per CSR", "ec", True, 1500),
    Shape("RSA-2048, kept connections", "rsa", False, 4000),
)


def measure(server: Running, token: Path, shape: Shape, calls: int) -> LoadResult:
    """Send ``calls`` CSRs from 32 callers over 8 connections, or over a new one each."""
    flags = ["-addr", server.address, "-token-file", str(token), "-cluster", "Kubernetes", "-san", str(IDENTITY)]
    flags += ["-n", str(calls), "-concurrency", "32", "-conns", "8", "-key", shape.key, "-pid", str(server.pid)]
    flags += ["-warmup", "200", "-ttl", "3600", "-root", str(server.roots)] + (["-fresh"] if shape.fresh else [])
    result = load(*flags)
    if result["failed"]:
        raise SystemExit(f"{server.name}: {result['failed']} calls failed: {result['errors']} {result['first_error']}")
    return result


def row(name: str, results: list[LoadResult]) -> str:
    """The medians of several rounds."""

    def median(key: str) -> float:
        return statistics.median(float(result[key] or 0.0) for result in results)  # type: ignore[literal-required]

    return (
        f"  {name:<10} {median('rps'):>8.0f} CSR/s   p50 {median('p50_ms'):>6.2f} ms   p99 {median('p99_ms'):>7.2f} ms"
        f"   {median('cpu_ms_per_call'):>6.3f} CPU-ms/CSR"
    )


def compare(shape: Shape, servers: tuple[Running, Running], token: Path, rounds: int, scale: float) -> None:
    """Measure both servers in turn, several times, and print the ratio of their rates round by round."""
    calls = max(100, int(shape.calls * scale))
    results: dict[str, list[LoadResult]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            results[server.name].append(measure(server, token, shape, calls))
    signed, empty = (results[server.name] for server in servers)
    ratios = sorted(s["rps"] / n["rps"] for s, n in zip(signed, empty, strict=True))
    print(f"{shape.name} ({calls} calls, {rounds} rounds)")
    print(row(servers[0].name, signed))
    print(row(servers[1].name, empty))
    print(f"  ratio      {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})\n")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each server and shape (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the number of calls (default: 1.0)")
    parser.add_argument("--only", default="", help="only shapes whose name holds this text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="istio-signer-bench-") as name:
        directory = Path(name)
        with signer(directory) as (signing, token), null(directory, signing, token) as empty:
            for shape in SHAPES:
                if args.only in shape.name:
                    compare(shape, (signing, empty), token, args.rounds, args.scale)
    print(f"target on kept connections with P-256 keys: a ratio of at least {TARGET}")


if __name__ == "__main__":
    main()
