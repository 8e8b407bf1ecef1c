"""What the suite must be able to do to whatever stands behind a backend."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from signer.client.workload import new_csr
from signer.core import keys
from signer.core.csr import parse_csr
from signer.core.csr_rules import check_csr, own_server_csr
from signer.core.ports import Backend, Clock
from signer.core.types import ServerNames, SigningRequest
from signer.core.validity import Validity
from tests.corpus.build import IDENTITY

TTL = 3600
PATIENCE = timedelta(seconds=4)
"""The time-out of the backends under test."""


def asked_at(clock: Clock) -> SigningRequest:
    """A workload's request as of now, with a CSR that nobody has sent before."""
    checked = check_csr(parse_csr(new_csr(IDENTITY, "p256").csr), IDENTITY)
    return SigningRequest("r-1", IDENTITY, checked, _window(clock))


def server_asked_at(clock: Clock, names: ServerNames) -> SigningRequest:
    """The same for a server's own certificate; its names are in the CSR, as the signer puts them there."""
    key = keys.generate("p256")
    san = x509.SubjectAlternativeName([*map(x509.DNSName, names.dns), *map(x509.IPAddress, names.ips)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(san, critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    return SigningRequest("r-1", names, own_server_csr(parse_csr(pem)), _window(clock))


def _window(clock: Clock) -> Validity:
    now = clock.now().replace(microsecond=0)
    return Validity(now - timedelta(seconds=60), now + timedelta(seconds=TTL), TTL)


@dataclass(frozen=True, slots=True)
class Stage:
    """What a far side is made with.

    Attributes:
        folder: For its files.
        fixture: Gives a fixture of the test session by name: `kube`, `cluster`, `openbao`.
        namespace: A name that no other test uses.
    """

    folder: Path
    fixture: Callable[[str], Any]
    namespace: str


class FarSide(Protocol):
    """A backend with its far side under a test's control. Those of real servers live by the real clock."""

    @property
    def backend(self) -> Backend:
        """What is under test; started by `prepare` or `take_away`, closed by the suite."""
        ...

    @property
    def clock(self) -> Clock:
        """The time it lives by."""
        ...

    async def prepare(self) -> None:
        """Have a CA that signs."""
        ...

    async def take_away(self) -> None:
        """Leave nothing that could sign, as after an operator's mistake before the first start."""
        ...

    async def mend(self) -> None:
        """Undo `take_away`, and return when the backend can know."""
        ...

    async def change_issuer(self) -> None:
        """Sign with another intermediate under the same root."""
        ...

    async def change_root(self) -> None:
        """Sign under another root."""
        ...

    async def refuse(self) -> None:
        """Decide against whatever comes next."""
        ...

    async def stall(self) -> None:
        """Answer nothing from now on; a backend's own time-out is a few seconds here."""
        ...

    async def left(self) -> int:
        """How many objects of ours there are."""
        ...
