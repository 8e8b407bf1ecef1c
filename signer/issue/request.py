"""One call as it comes in, what it is worth after all checks, and what its Outcome says of it."""

from dataclasses import dataclass
from datetime import datetime

from signer.core.chain import VerifiedChain
from signer.core.csr import ParsedCsr
from signer.core.csr_rules import CheckedCsr, requested_names
from signer.core.keys import describe
from signer.core.types import Credentials, Grant, Outcome

# Of a stranger's text in log and audit; identities and names that can be good are shorter.
MAX_SHOWN = 320


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """One call as it came off the wire, nothing in it believed yet.

    Attributes:
        id: The request's id, ours.
        csr: PEM text.
        ttl: ``validity_duration``, seconds.
        credentials: What the caller showed.
        impersonated: ``ImpersonatedIdentity`` of the metadata; empty for none.
        peer: The network address, for the audit.
        budget: Seconds until the answer must be on its way.
    """

    id: str
    csr: str
    ttl: int
    credentials: Credentials
    budget: float
    impersonated: str = ""
    peer: str = ""

    @property
    def signer_name(self) -> str:
        """``CertSigner`` of the metadata; empty for none."""
        return self.credentials.signer_name


@dataclass(frozen=True, slots=True)
class Order:
    """A request that may be signed: who wants it, for whom, and the CSR that passed every rule.

    Attributes:
        ends: When the backends must be done with it, by the event loop's clock.
    """

    request: IssueRequest
    grant: Grant
    csr: CheckedCsr
    ends: float


def new_outcome(request: IssueRequest, now: datetime) -> Outcome:
    """What is known of a call before anything is judged."""
    return Outcome(
        request_id=request.id,
        time=now.isoformat(timespec="milliseconds"),
        peer=request.peer,
        cluster=request.credentials.cluster[:MAX_SHOWN],
        requested_identity=request.impersonated[:MAX_SHOWN],
        requested_ttl=request.ttl,
        signer_name=request.signer_name[:MAX_SHOWN],
    )


def describe_csr(outcome: Outcome, parsed: ParsedCsr) -> None:
    """Note the CSR's key, its digest and the names it asks for."""
    outcome.key = describe(parsed.key)
    outcome.csr_digest = parsed.digest
    if not outcome.requested_identity:
        outcome.requested_identity = ", ".join(str(n.value)[:200] for n in requested_names(parsed)[:4])


def describe_leaf(outcome: Outcome, chain: VerifiedChain) -> None:
    """Note the certificate that is handed out."""
    outcome.serial = f"{chain.leaf.serial_number:x}"
    outcome.not_before = chain.leaf.not_valid_before_utc
    outcome.not_after = chain.leaf.not_valid_after_utc
