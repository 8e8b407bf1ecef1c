"""What a workload holds: the chain that its CA answered with, and its key."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate chain, its PKCS #8 or traditional PEM key, and the PEM roots that the workload trusts."""

    chain: tuple[str, ...]
    key: str
    roots: str

    @classmethod
    def from_answer(cls, chain: Sequence[str], key: str) -> "Credential":
        """Read a `cert_chain` answer as the Istio agent does: its last element holds all roots."""
        return cls(tuple(chain), key, chain[-1])

    @property
    def certificate_chain(self) -> str:
        """What the agent gives to Envoy: the WHOLE chain, roots included, with a line feed where one is missing."""
        joined = [element if element.endswith("\n") else element + "\n" for element in self.chain[:-1]]
        return "".join([*joined, self.chain[-1]])

    @property
    def serial(self) -> int:
        """Serial number of the leaf."""
        return x509.load_pem_x509_certificate(self.chain[0].encode()).serial_number


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a connection: who it is meant to be, whom it accepts (SPIFFE IDs), and what it holds."""

    spiffe_id: str
    accepts: str
    credential: Credential
