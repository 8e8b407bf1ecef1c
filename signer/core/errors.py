"""Every way a request can fail, and the one table that says what each failure means to a client.

    SignerError
    ├── AuthenticationFailed        the credential is bad
    ├── ImpersonationDenied         the caller may not act for that identity
    ├── AuthenticationUnavailable   the credential could not be judged (API server down, slow or confused)
    ├── Overloaded                  too much in flight
    ├── QuotaExceeded               more certificates for this caller than its quota
    ├── CsrMalformed                the CSR is not one well-formed, self-signed CSR
    ├── CsrRejected                 the CSR asks for what policy does not allow
    │   └── IdentityRejected        ... in its names
    ├── ValidityRejected            the lifetime asked for is not allowed
    ├── PolicyDenied                a rule denies this caller
    ├── NoRoute                     no route leads this identity to a backend
    ├── ChainRejected               what the backend returned is not what was asked
    └── BackendError                what a backend may raise
        ├── BackendUnavailable      network, 429, 5xx, sealed, no key loaded
        ├── BackendBusy             more requests for the backend than its caps allow
        ├── BackendRefused          the backend decided against it
        │   └── RefusedLocally      ... before its far side was asked
        └── BackendTimeout          no answer in time
            └── Undecided           its far side has the request, and nobody there has decided on this one

The Istio agent retries five-fold on some gRPC codes and never on others (istio: pkg/security/retry.go), so the code
is load control. The caller sees a constant text and the request's id; ``reason`` goes to log, audit and metric only.
"""

from dataclasses import dataclass
from enum import Enum


class Code(Enum):
    """The gRPC status codes that this server uses; values are the names of ``grpc.StatusCode``."""

    OK = "OK"
    CANCELLED = "CANCELLED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    UNAUTHENTICATED = "UNAUTHENTICATED"


class SignerError(Exception):
    """A request that ends without a certificate.

    Args:
        reason: What exactly happened, for operators. Never holds a token, a key or a whole CSR.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AuthenticationFailed(SignerError):
    """The credential is missing, malformed, expired, for another audience, or refused by the API server."""


class ImpersonationDenied(SignerError):
    """The caller asked for an identity that it may not act for."""


class AuthenticationUnavailable(SignerError):
    """The credential could not be judged now; it may be good. Never to be told as a bad credential."""


class Overloaded(SignerError):
    """The in-flight cap was reached and its short wait ran out."""


class QuotaExceeded(SignerError):
    """The caller's identity, node or namespace has had its certificates for now; others are served meanwhile."""


class CsrMalformed(SignerError):
    """Not one PEM block with one PKCS#10 request that proves possession of its key."""


class CsrRejected(SignerError):
    """The CSR is well-formed but asks for something that a rule forbids."""


class IdentityRejected(CsrRejected):
    """The CSR's names are not exactly the identity granted to the caller."""


class ValidityRejected(SignerError):
    """The lifetime asked for is over the maximum, and the profile rejects instead of clamping."""


class PolicyDenied(SignerError):
    """A rule of the operator denies this caller what it asks for: a signer that is for others, the deny list."""


class NoRoute(SignerError):
    """No routing rule matches, so no backend may sign for this identity."""


class ChainRejected(SignerError):
    """The backend's answer failed verification."""


class BackendError(SignerError):
    """Base of what a backend's ``sign`` may raise."""


class BackendUnavailable(BackendError):
    """The backend cannot answer now: network, throttling, server error, sealed, no key loaded."""


class BackendBusy(BackendError):
    """The backend's cap on calls at once, or on calls a second, is reached; it was not asked."""


class BackendRefused(BackendError):
    """The backend decided against the request; the same request will be refused again."""


class RefusedLocally(BackendRefused):
    """The backend's own rules forbid it; its far side was not asked, so this tells nothing of the far side's health."""


class BackendTimeout(BackendError):
    """The backend did not answer within what was left of the deadline."""


class Undecided(BackendTimeout):
    """Nobody has decided on this one request, which may be its asker's own doing: it tells nothing of the backend."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one kind of failure means outside.

    Attributes:
        code: The gRPC status code.
        public: The constant text that a caller sees.
        retryable: Whether the Istio agent tries this code again (contract: its retry interceptor).
        citadel_error: The ``error`` label of ``citadel_server_csr_sign_err_count``, where the failure counts there.
    """

    code: Code
    public: str
    retryable: bool
    citadel_error: str | None = None


# One text for both: a caller must not learn from the answer which of its guesses was close.
_NOT_PROVEN = "request authentication failure"

MEANINGS: dict[type[SignerError], Meaning] = {
    AuthenticationFailed: Meaning(Code.UNAUTHENTICATED, _NOT_PROVEN, False),
    ImpersonationDenied: Meaning(Code.UNAUTHENTICATED, _NOT_PROVEN, False),
    AuthenticationUnavailable: Meaning(Code.UNAVAILABLE, "authentication is unavailable, try again", True),
    Overloaded: Meaning(Code.RESOURCE_EXHAUSTED, "the server is overloaded, try again", True),
    QuotaExceeded: Meaning(Code.RESOURCE_EXHAUSTED, "too many requests, try again later", True),
    CsrMalformed: Meaning(Code.INVALID_ARGUMENT, "the CSR is malformed", False),
    CsrRejected: Meaning(Code.INVALID_ARGUMENT, "the CSR is not acceptable", False, "CSR_ERROR"),
    IdentityRejected: Meaning(Code.INVALID_ARGUMENT, "the CSR is not acceptable", False),
    ValidityRejected: Meaning(Code.INVALID_ARGUMENT, "the requested lifetime is not allowed", False, "TTL_ERROR"),
    PolicyDenied: Meaning(Code.PERMISSION_DENIED, "denied by policy", False),
    NoRoute: Meaning(Code.FAILED_PRECONDITION, "no issuer is configured for this identity", False, "UNKNOWN"),
    ChainRejected: Meaning(Code.FAILED_PRECONDITION, "the issuer's answer was rejected", False, "CERT_GEN_ERROR"),
    BackendUnavailable: Meaning(Code.UNAVAILABLE, "the issuer is unavailable, try again", True, "CA_NOT_READY"),
    BackendBusy: Meaning(Code.RESOURCE_EXHAUSTED, "the issuer is busy, try again", True, "CA_NOT_READY"),
    BackendRefused: Meaning(Code.FAILED_PRECONDITION, "the issuer refused the request", False, "CERT_GEN_ERROR"),
    RefusedLocally: Meaning(Code.FAILED_PRECONDITION, "the issuer refused the request", False, "CERT_GEN_ERROR"),
    BackendTimeout: Meaning(Code.DEADLINE_EXCEEDED, "the issuer did not answer in time", True, "CA_NOT_READY"),
    Undecided: Meaning(Code.DEADLINE_EXCEEDED, "the issuer did not answer in time", True, "CA_NOT_READY"),
}

# Anything that is not a SignerError is a bug of ours: retried by the agent, with a traceback in our log.
BUG = Meaning(Code.INTERNAL, "internal error", True, "UNKNOWN")
CANCELLED = Meaning(Code.CANCELLED, "cancelled by the caller", True)


def meaning(error: BaseException) -> Meaning:
    """Look up what a failure means to the caller.

    A subclass without a row of its own means what its nearest listed base means.
    """
    for kind in type(error).__mro__:
        if kind in MEANINGS:
            return MEANINGS[kind]
    return BUG
