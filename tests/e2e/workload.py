"""A workload of the cluster, and its CSRs as the Istio agent or ztunnel would send them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.cluster.api import Kube
from tests.e2e.process import SignerProcess
from tests.goclient.run import AgentResult, LoadResult, agent, load
from tests.mesh.credential import Credential

Shape = Literal["agent", "ztunnel"]


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod of a service account, with the token that the kubelet would have mounted."""

    kube: Kube
    namespace: str
    account: str
    folder: Path

    @classmethod
    def create(cls, kube: Kube, namespace: str, account: str, folder: Path) -> "Workload":
        """Make the service account, its pod and a token bound to it."""
        made = cls(kube, namespace, account, folder / account)
        made.folder.mkdir(parents=True)
        kube.create_service_account(namespace, account)
        kube.create_pod(namespace, made.pod, account)
        made.write_token()
        return made

    @property
    def pod(self) -> str:
        """The pod's name."""
        return f"{self.account}-1"

    @property
    def spiffe_id(self) -> str:
        """The identity that it may have."""
        return f"spiffe://cluster.local/ns/{self.namespace}/sa/{self.account}"

    @property
    def token_file(self) -> Path:
        """Holds its present token."""
        return self.folder / "token"

    def new_token(self) -> str:
        """One more token: nothing remembers a verdict on it yet."""
        return self.kube.pod_token(self.namespace, self.account, self.pod)

    def write_token(self, token: str = "") -> None:
        """Replace the token, by a new one if none is given."""
        self.token_file.write_text(token or self.new_token())

    def ask(self, signer: SignerProcess, *flags: str | Path, shape: Shape = "ztunnel") -> AgentResult:
        """Send one CSR with the agent's own law of retries."""
        return agent(*self._target(signer), "-shape", shape, *flags)

    def flood(self, signer: SignerProcess, calls: int, *flags: str | Path) -> LoadResult:
        """Send many CSRs, four at a time unless the flags say otherwise; no call is tried twice."""
        sizes = ["-n", str(calls), "-conns", "2", "-concurrency", "4", "-csrs", str(min(calls, 50))]
        return load(*self._target(signer), *sizes, *flags)

    def obtain(self, signer: SignerProcess, *flags: str | Path, shape: Shape = "ztunnel") -> Credential:
        """Get a certificate at the first try, or fail."""
        result = self.ask(signer, "-key-out", self.folder, *flags, shape=shape)
        assert (result["code"], result["attempts"]) == ("OK", 1), result
        return Credential.from_answer(result["chain"], (self.folder / "key.pem").read_text())

    def _target(self, signer: SignerProcess) -> list[str | Path]:
        common: list[str | Path] = ["-addr", signer.grpc, "-root", signer.roots]
        return [*common, "-token-file", self.token_file, "-san", self.spiffe_id]
