"""A small mesh on real parts: two signers behind a balancer, two Envoys, and what stands beside Envoy in a pod.

A workload verifies the signer by the roots in its namespace's ConfigMap, as a pod does, and its peer by the roots of
its last answer.
"""

import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from cryptography import x509

from tests.cluster.api import Kube
from tests.cluster.poll import until
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, grant
from tests.e2e.balancer import Balancer
from tests.e2e.ca import make_ca
from tests.e2e.command import PROGRAM, ROOT, environment
from tests.e2e.process import SignerProcess
from tests.e2e.settings import write_settings
from tests.e2e.workload import Shape
from tests.goclient.run import agent
from tests.mesh.credential import Credential
from tests.mesh.pair import MeshPair, Side

MAP, KEY = "istio-ca-root-cert", "root-cert.pem"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things live, in seconds.

    Attributes:
        leaf: Of workloads; renewed at half of it.
        serving: Of the signer's own certificate.
        intermediate: Of the signing certificate in memory.
        calm: Between two events.
    """

    leaf: int
    serving: int
    intermediate: int
    calm: float
    settle: int = 2


@dataclass
class Place:
    """The signers' home: an account with the rights of deploy/rbac, a CA, and a configuration."""

    kube: Kube
    folder: Path
    pace: Pace
    home: str = field(default_factory=lambda: f"signer-{uuid.uuid4().hex[:8]}")
    label: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def prepare(self) -> Path:
        """Make all of it; give the configuration."""
        self.kube.create_namespace(self.home)
        self.kube.create_service_account(self.home, "istio-signer")
        documents = list(yaml.safe_load_all((ROOT / "deploy/rbac/distribution.yaml").read_text()))
        everywhere = [rule for d in documents if d["kind"] == "ClusterRole" for rule in d["rules"]]
        here = [rule for d in documents if d["kind"] == "Role" for rule in d["rules"]]
        grant(self.kube, self.home, "istio-signer", [*everywhere, CREATE_TOKEN_REVIEWS])
        grant(self.kube, self.home, "istio-signer", here, cluster_wide=False)
        access = self.kube.write_kubeconfig(self.folder / "access", self.home, "istio-signer")
        make_ca(self.folder / "ca", "--path-length", "1")
        return write_settings(self.folder / "config", self.folder / "ca", access, self._sections())

    def namespace(self) -> str:
        """One that gets roots."""
        name = f"app-{uuid.uuid4().hex[:12]}"
        self.kube.create_namespace(name, {"test": self.label})
        return name

    def _sections(self) -> dict[str, Any]:
        pace = self.pace
        intermediate = {"ttl": f"{pace.intermediate}s", "new_root_delay": "1s"}
        return {
            "backends": {
                "local": {
                    "type": "local",
                    "directory": str(self.folder / "ca"),
                    "mode": "intermediate",
                    "intermediate": intermediate,
                }
            },
            "certificates": {"default_ttl": f"{pace.leaf}s", "max_ttl": f"{pace.leaf}s"},
            "serving": {"ttl": f"{pace.serving}s", "dns_names": [], "ip_addresses": ["127.0.0.1"]},
            "trust": {"settle": f"{pace.settle}s"},
            "distribution": {
                "enabled": True,
                "lease_namespace": self.home,
                "lease_duration": "4s",
                "namespace_selector": f"test={self.label}",
            },
        }


class Replica(SignerProcess):
    """One signer of the place."""

    def __init__(self, folder: Path, config: Path, roots: Path) -> None:
        folder.mkdir(parents=True)
        # Each its own files; the audit of both in one would mix.
        mine = yaml.safe_load(config.read_text())
        mine["logging"]["audit"] = str(folder / "audit.jsonl")
        (folder / "config.yaml").write_text(yaml.safe_dump(mine))
        super().__init__(folder, ["--config", folder / "config.yaml"], roots)


def rotate(config: Path, *step: str, seconds: float = 300.0) -> dict[str, Any]:
    """Run `istio-signer rotate-root` to its end.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    command = [*PROGRAM, "rotate-root", *step, "--config", str(config), "-o", "json"]
    command += ["--root-directory", str(config.parent / f"root-{time.monotonic_ns()}")] if step[0] == "start" else []
    done = subprocess.run(
        command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise RuntimeError(f"rotate-root {' '.join(step)}: {done.returncode}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@dataclass
class Pod:
    """What stands beside one Envoy: gets its certificates in time and hands them over.

    Attributes:
        failures: Each renewal that did not give a certificate.
        chains: Every answer.
    """

    kube: Kube
    namespace: str
    account: str
    shape: Shape
    folder: Path
    balancer: Balancer
    failures: list[str] = field(default_factory=list)
    chains: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.kube.create_service_account(self.namespace, self.account)
        self.kube.create_pod(self.namespace, f"{self.account}-1", self.account)
        token = self.kube.pod_token(self.namespace, self.account, f"{self.account}-1")
        (self.folder / "token").write_text(token)

    @property
    def spiffe_id(self) -> str:
        """Who it is."""
        return f"spiffe://cluster.local/ns/{self.namespace}/sa/{self.account}"

    def roots(self) -> str:
        """What its volume `istiod-ca-cert` holds now."""
        maps = self.kube.list_all("v1", "ConfigMap", self.namespace)
        return next((m["data"][KEY] for m in maps if m["metadata"]["name"] == MAP), "")

    def obtain(self) -> Credential:
        """Get a certificate, with the agent's own law of retries."""
        (self.folder / "roots.pem").write_text(self.roots())
        result = agent(
            *("-addr", self.balancer.grpc, "-root", self.folder / "roots.pem"),
            *("-token-file", self.folder / "token", "-san", self.spiffe_id),
            *("-shape", self.shape, "-key-out", self.folder),
        )
        if result["code"] != "OK":
            raise RuntimeError(f"{self.account}: {result}")
        self.chains.append(tuple(result["chain"]))
        return Credential.from_answer(result["chain"], (self.folder / "key.pem").read_text())

    def issuers(self) -> set[str]:
        """Who signed its leaves so far."""
        return {chain[1] for chain in self.chains}


class Renewal:
    """A context manager: one thread renews a side's certificate at half of its life, into its Envoy."""

    def __init__(self, pod: Pod, pair: MeshPair, side: Side, life: float) -> None:
        self._pod = pod
        self._pair = pair
        self._side: Side = side
        self._pause = life / 2
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"renew-{side}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                self._pair.rotate(self._side, self._pod.obtain())
            except Exception as error:  # noqa: BLE001  told at the end, as a failure of the test
                self._pod.failures.append(f"{type(error).__name__}: {error}")


def served_serial(signer: SignerProcess, roots: str) -> int:
    """Of the certificate that the signer shows now."""
    import ssl

    from tests.server.raw_http2 import connect

    with connect(signer.grpc, ssl.create_default_context(cadata=roots)) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der).serial_number


def eventually(probe: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait."""
    until(probe, deadline=seconds, what=what, interval=0.2)
