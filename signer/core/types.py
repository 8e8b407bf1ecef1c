"""The values that travel through the pipeline, each named after how far it may be trusted."""

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from cryptography import x509

from signer.core.csr_rules import CheckedCsr
from signer.core.errors import Code
from signer.core.identity import SpiffeId
from signer.core.validity import Validity


class Secret:
    """A bearer credential that does not show itself: not in repr, not in str, not in a traceback's locals."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Hand out the text, for the one place that must send or hash it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not to be pickled")


@dataclass(frozen=True, slots=True)
class PodRef:
    """A pod as the API server named it in the verdict on its token.

    Attributes:
        labels: Its labels, sorted by key; None where nobody has looked.
    """

    name: str
    uid: str
    node: str | None = None
    labels: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller showed; nothing in it is proven.

    Attributes:
        bearer: Its token; None for none.
        cluster: The ``clusterid`` it claims, empty for the local one.
        chain: Its client certificate and what came with it, one PEM certificate each, leaf first; empty for none.
        signer_name: The ``CertSigner`` that it asks for; what must be known of it can hang on that.
    """

    bearer: Secret | None
    cluster: str = ""
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    signer_name: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """A proven caller.

    Attributes:
        identity: The SPIFFE identity of its service account.
        method: How it was proven, such as ``token-review``, ``development`` or ``client-certificate``.
        cluster: The id of the cluster whose API server vouched for it; of a client certificate's, the one
            that it was issued in; empty where there are several and nobody knows.
        pod: The pod its token is bound to; None for legacy tokens and client certificates.
        serial: The serial number of the client certificate that it showed, also where a token proved it; else None.
        issued_to: The UID of the pod that the certificate which proved it was issued to; empty where that was no pod,
            and for tokens; None where nobody knows.
    """

    identity: SpiffeId
    method: str
    cluster: str
    pod: PodRef | None = None
    serial: int | None = None
    issued_to: str | None = ""

    @property
    def tells_origin(self) -> bool:
        """Whether its proof tells where it runs: its cluster, and its pod where it has one. A certificate may not."""
        return bool(self.cluster) and self.issued_to == ""


@dataclass(frozen=True, slots=True)
class Grant:
    """The identity that a caller may have now, and by whose right."""

    identity: SpiffeId
    caller: Caller
    impersonated: bool = False


@dataclass(frozen=True, slots=True)
class ServerNames:
    """The names of a TLS server's own certificate, instead of a workload's identity."""

    dns: tuple[str, ...] = ()
    ips: tuple[IPv4Address | IPv6Address, ...] = ()

    def __str__(self) -> str:
        return ", ".join([*self.dns, *map(str, self.ips)])


Subject: TypeAlias = SpiffeId | ServerNames


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a backend is asked to sign. Only the CSR checker makes the ``csr`` in it, and for that ``subject`` alone.

    Attributes:
        id: The request's id, for logs and for names of remote objects.
        subject: The names that the leaf must have, exactly.
        validity: The window asked for; a backend may end it earlier, never later.
        signer_name: The ``CertSigner`` the caller named, empty for none.
    """

    id: str
    subject: Subject
    csr: CheckedCsr
    validity: Validity
    signer_name: str = ""
    grant: Grant | None = None

    def __post_init__(self) -> None:
        # A CSR that was checked for one identity says nothing about another.
        checked = self.csr.identity
        fits = isinstance(self.subject, ServerNames) if checked is None else self.subject == checked
        if not fits:
            raise TypeError(f"the CSR was checked for {checked or 'a server'}, the request is for {self.subject}")


@dataclass(frozen=True, slots=True)
class IssuedChain:
    """What a backend returned: the leaf and whatever CA certificates came with it, in any order. Untrusted."""

    leaf: x509.Certificate
    issuers: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class IssuerInfo:
    """What a backend says of the CA that it signs with now.

    Attributes:
        roots: The trust anchors of its certificates.
        chain: The signing certificate and its issuers, signing certificate first, where known.
        window: The span inside which every certificate of ``chain`` is valid, where known.
        configured: Whether the roots are an operator's word, as those of a file: what leaves it is trusted no more. A
            root that a signer has shown of itself outlives its last leaf.
    """

    roots: tuple[x509.Certificate, ...]
    chain: tuple[x509.Certificate, ...] = ()
    window: tuple[datetime, datetime] | None = None
    configured: bool = False


@dataclass(slots=True)
class Outcome:
    """One per request, filled as the request goes; metrics, audit and log are written from it and from nothing else.

    Attributes:
        time: When it came in, RFC 3339.
        stage: The stage that the request reached.
        seconds: Wall time of the whole request.
        stages: Wall time of each stage that ran, in seconds.
        error: The name of the failure's class; empty on success.
        reason: Why it failed, for operators only.
        citadel_error: Its ``csr_sign_err_count`` label, where it counts as one.
        bug: The exception, where it was none of ours: the log shows its frames.
        passed_over: Backends that were asked before ``backend`` and did not answer, each with its reason.
        coalesced: ``in_flight`` or ``remembered`` where it shares another request's answer; else empty.
    """

    request_id: str
    time: str = ""
    peer: str = ""
    cluster: str = ""
    stage: str = "rpc"
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    code: Code = Code.INTERNAL
    error: str = ""
    reason: str = ""
    citadel_error: str | None = None
    caller: Caller | None = None
    grant: Grant | None = None
    requested_identity: str = ""
    requested_ttl: int = 0
    signer_name: str = ""
    route: str = ""
    backend: str = ""
    key: str = ""
    csr_digest: str = ""
    serial: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    bug: BaseException | None = None
    passed_over: tuple[str, ...] = ()
    coalesced: str = ""
