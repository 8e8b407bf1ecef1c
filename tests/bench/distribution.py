"""How long, how many API calls and how much memory roots for many namespaces take: `make bench-distribution`."""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.cluster.process import Cluster
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, grant
from tests.e2e.ca import make_ca
from tests.e2e.process import SignerProcess
from tests.e2e.settings import write_settings

HOME, NAME = "istio-system", "istio-ca-root-cert"
RULES = Path(__file__).parents[2] / "deploy/rbac/distribution.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="tests.bench.distribution", description=__doc__)
    parser.add_argument("--namespaces", type=int, default=1000)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder) / "cluster", audit=True) as cluster:
        results = _measure(cluster, Path(folder), args.namespaces)
    _show(results, args.output)
    return 0


def _measure(cluster: Cluster, folder: Path, count: int) -> dict[str, Any]:
    with Kube.load(cluster.kubeconfig) as kube:
        _say(f"making {count} namespaces")
        kube.create_namespace(HOME)
        kube.create_service_account(HOME, "istio-signer")
        _grant(kube)
        _make_namespaces(cluster, count)
        access = kube.write_kubeconfig(folder / "access", HOME, "istio-signer")
        make_ca(folder / "ca")
        config = write_settings(folder / "signer", folder / "ca", access, {"distribution": {"enabled": True}})
        signer = SignerProcess(folder / "signer", ["--config", config], folder / "ca" / "root-cert.pem")
        with signer:
            seconds = _led_until_complete(signer, kube, count)
            memory = _memory(signer.pid)
            calls = _calls(cluster)
            before = sum(calls.values())
            changed = _changed(signer, folder, kube, count)
            again = sum(_calls(cluster).values()) - before
    return {
        "namespaces": count,
        "seconds": round(seconds, 2),
        "calls": dict(calls),
        "memory_mib": round(memory / 2**20, 1),
        "root_added_seconds": round(changed, 2),
        "root_added_calls": again,
    }


def _grant(kube: Kube) -> None:
    documents = list(yaml.safe_load_all(RULES.read_text()))
    cluster = [rule for d in documents if d["kind"] == "ClusterRole" for rule in d["rules"]]
    own = [rule for d in documents if d["kind"] == "Role" for rule in d["rules"]]
    grant(kube, HOME, "istio-signer", [*cluster, CREATE_TOKEN_REVIEWS])
    grant(kube, HOME, "istio-signer", own, cluster_wide=False)


def _make_namespaces(cluster: Cluster, count: int) -> None:
    def make(part: int) -> None:
        with Kube.load(cluster.kubeconfig) as kube:
            for number in range(part, count, 8):
                kube.create_namespace(f"bench-{number:05d}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(8)))


def _metric(signer: SignerProcess, line: str) -> float:
    for text in signer.admin("/metrics").body.splitlines():
        if text.startswith(line):
            return float(text.rsplit(" ", 1)[1])
    return -1.0


def _led_until_complete(signer: SignerProcess, kube: Kube, count: int) -> float:
    """Seconds from leading until every namespace holds the roots."""
    until(lambda: _metric(signer, "istio_signer_leader") == 1.0, deadline=20, what="a leader", interval=0.01)
    begun = time.monotonic()
    _complete(signer, count)
    seconds = time.monotonic() - begun
    held = [m for m in kube.list_all("v1", "ConfigMap") if m["metadata"]["name"] == NAME]
    if len(held) < count:
        raise SystemExit(f"only {len(held)} of {count} namespaces hold the roots")
    return seconds


def _complete(signer: SignerProcess, count: int, written: int = 0) -> None:
    wanted = 'istio_signer_distribution_writes_total{result="written"}'
    until(lambda: _metric(signer, wanted) >= written + count, deadline=120, what="all writes", interval=0.02)


def _changed(signer: SignerProcess, folder: Path, kube: Kube, count: int) -> float:
    """Seconds until one more root is everywhere."""
    written = int(_metric(signer, 'istio_signer_distribution_writes_total{result="written"}'))
    make_ca(folder / "next")
    file = folder / "ca" / "root-cert.pem"
    begun = time.monotonic()
    file.write_text(file.read_text() + (folder / "next" / "root-cert.pem").read_text())
    _complete(signer, count, written)
    return time.monotonic() - begun


def _calls(cluster: Cluster) -> Counter[str]:
    """Calls of the signer's account, by verb and resource, from the API server's audit log."""
    user, counted = f"system:serviceaccount:{HOME}:istio-signer", Counter[str]()
    for line in cluster.audit_log.read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] == user and event["stage"] in ("ResponseComplete", "ResponseStarted"):
            counted[f"{event['verb']} {event['objectRef']['resource']}"] += event["stage"] == "ResponseComplete"
    return Counter({key: value for key, value in counted.items() if value})


def _memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


def _show(results: dict[str, Any], output: str) -> None:
    if output == "json":
        print(json.dumps(results, indent=2))
        return
    for name, value in results.items():
        print(f"{name.replace('_', ' '):<20} {value}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
