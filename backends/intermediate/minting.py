"""What an upstream must be able to do to give the signer an intermediate: mint one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

from cryptography import x509

# ub-common-name, RFC 5280 appendix A.1; counted in bytes, as the library that makes the CSR does.
MAX_COMMON_NAME = 64
SHORTEST_TTL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class IntermediateSettings:
    """The ``intermediate`` section of a backend with ``mode: intermediate``.

    Attributes:
        ttl: The lifetime to ask the upstream for; at least 1 m. No leaf outlives it, so what is left of it when it is
            renewed, ``certificates.grace_ratio`` of it, should be no less than ``certificates.max_ttl``.
        common_name: The subject of the signing certificate, 1 to 64 bytes.
        new_root_delay: How long a signing certificate under a root that is new here waits, its root already in the
            answers, before it signs; one under a known root signs at once.
    """

    ttl: timedelta = timedelta(hours=48)
    common_name: str = "istio-signer"
    new_root_delay: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        size = len(self.common_name.encode("utf-8", "replace"))
        if not 1 <= size <= MAX_COMMON_NAME:
            raise ValueError(f"common_name must have 1 to {MAX_COMMON_NAME} bytes, not {size}")
        if self.ttl < SHORTEST_TTL:
            raise ValueError("ttl must be 1m or more: each signing certificate is minted by the upstream")
        if self.new_root_delay < timedelta(0):
            raise ValueError("new_root_delay must not be negative")


@dataclass(frozen=True, slots=True)
class CaOrder:
    """What an upstream is asked to sign.

    Attributes:
        id: For logs and for names of remote objects; new for each order. An order that nobody has decided on is given
            again, so that what was made for it is found.
        csr: Made here, with basicConstraints CA:TRUE, pathlen 0 and keyUsage keyCertSign, cRLSign.
        ttl: The lifetime wanted; the upstream may give less.
    """

    id: str
    csr: x509.CertificateSigningRequest
    common_name: str
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class MintedCa:
    """What an upstream returned. Untrusted: whoever takes it proves key, path and window first.

    Attributes:
        certificate: The signing certificate.
        issuers: CA certificates above it, in any order; roots may be among them.
        roots: The trust anchors it leads to.
    """

    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]


class Minter(Protocol):
    """An upstream that mints intermediates. Its errors are those of ``Backend.sign``."""

    async def mint(self, order: CaOrder) -> MintedCa:
        """Sign an intermediate, or raise; cancelled when the backend's time-out and a little more have passed.

        Raises:
            BackendUnavailable: It cannot sign now.
            BackendRefused: It decided against it.
            BackendTimeout: Its far side did not answer in time.
        """
        ...

    async def start(self) -> None:
        """Get ready, one attempt; must not raise."""
        ...

    async def run(self) -> None:
        """Do background work (leases, watches) until cancelled."""
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...


@runtime_checkable
class AnnouncesUpstream(Protocol):
    """A minter that knows when its own CA changes, so that what it minted is renewed at once."""

    def on_upstream_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, on the event loop, after each change."""
        ...
