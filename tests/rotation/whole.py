"""A whole rotation: a signer that distributes, a workload that calls all the time, an operator at the command line."""

import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.api import Kube
from tests.cluster.rbac import CREATE_TOKEN_REVIEWS, grant
from tests.e2e.command import Done, istio_signer
from tests.e2e.process import SignerProcess
from tests.e2e.settings import Only, write_settings
from tests.e2e.workload import Workload
from tests.mesh.x509_strict import verify_strict
from tests.rotation.access import OPERATOR, account

KEY = "root-cert.pem"
SIGNER = "istio-signer"
TIMES: dict[str, Any] = {
    "certificates": {"default_ttl": "5s", "max_ttl": "5s"},
    "serving": {"ttl": "5s"},
    "trust": {"client_interval": "5s", "settle": "1s"},
}


@dataclass
class Whole:
    """The signer of a namespace that stands for istio-system, and its operator."""

    kube: Kube
    home: str
    folder: Path
    backend: dict[str, Any]
    roots: str
    rights: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        label = uuid.uuid4().hex[:12]
        self.app = f"app-{label}"
        self.kube.create_namespace(self.app, {"test": label})
        self._sections = {
            **TIMES,
            "backends": Only({"ca": self.backend}),
            "distribution": {
                "enabled": True,
                "lease_namespace": self.home,
                "lease_duration": "4s",
                "namespace_selector": f"test={label}",
            },
        }
        access = account(self.kube, self.folder / "signer-access", self.home, SIGNER, "distribution", *self.rights)
        # Under another name than the roles of deploy/rbac have.
        grant(self.kube, self.home, SIGNER, [CREATE_TOKEN_REVIEWS])
        self._config = write_settings(self.folder / "signer", self.folder, access, self._sections)
        operator = account(self.kube, self.folder / "operator-access", self.home, OPERATOR, "rotate-root")
        self._operators = write_settings(self.folder / "operator", self.folder, operator, self._sections)

    def signer(self) -> SignerProcess:
        """A signer, whose clients trust what the last answer or, before the first, the CA said."""
        trusted = self.folder / "trusted.pem"
        trusted.write_text(self.roots)
        return SignerProcess(self.folder / "signer", ["--config", self._config], trusted)

    def rotate(self, step: str, *flags: str | Path) -> Done:
        """Take one step at the command line."""
        return istio_signer("rotate-root", step, "--config", self._operators, *flags, variables=self.variables)

    def phase(self, step: str, *flags: str | Path) -> str:
        """Take one step, and give the phase that it leads to."""
        done = self.rotate(step, "-o", "json", *flags)
        assert done.code == 0, done.err
        phase: str = done.json()["rotation"]["phase"]
        return phase

    def held(self) -> str:
        """The roots in the workloads' namespace."""
        found = self.kube.list_all("v1", "ConfigMap", self.app)
        return next((m["data"][KEY] for m in found if m["metadata"]["name"] == "istio-ca-root-cert"), "")


class Calls:
    """A context manager: inside it a workload renews all the time, trusting what its last answer said and no more."""

    def __init__(self, signer: SignerProcess, workload: Workload) -> None:
        self._signer = signer
        self._workload = workload
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="calls", daemon=True)
        self.roots: list[str] = []
        self.fault: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60.0)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._once()
        except BaseException as error:  # noqa: BLE001  told by the test's own thread
            self.fault = error

    def _once(self) -> None:
        """The signer's own certificate is verified by what was known before, too."""
        answer = self._workload.obtain(self._signer)
        known = self.roots[-1] if self.roots else answer.chain[-1]
        verify_strict([*answer.chain[:-1], known], "sslclient")
        self.roots.append(answer.chain[-1])
        self._signer.roots.write_text(answer.chain[-1])
