"""What the use case needs of the outside, as protocols: the pipeline knows these and no implementation."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, runtime_checkable

from signer.core.chain import TrustBundle
from signer.core.types import Caller, Credentials, Grant, IssuedChain, IssuerInfo, Outcome, SigningRequest


class Clock(Protocol):
    """Time as certificates know it, and time as deadlines know it."""

    def now(self) -> datetime:
        """The wall clock, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...


class Authenticator(Protocol):
    """Proves who calls."""

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Turn credentials into a proven caller.

        Raises:
            AuthenticationFailed: The credential is bad.
            AuthenticationUnavailable: It could not be judged now.
            Overloaded: Too many are being judged.
        """
        ...


class Authorizer(Protocol):
    """Decides which identity a proven caller may have."""

    async def authorize(self, caller: Caller, impersonated: str) -> Grant:
        """Grant an identity.

        Args:
            caller: Who was proven.
            impersonated: The ``ImpersonatedIdentity`` asked for; empty for none.

        Raises:
            ImpersonationDenied: The caller may not act for that identity.
            AuthenticationUnavailable: Whether it may is not known now.
        """
        ...


class Backend(Protocol):
    """A way to sign. One package in ``backends/`` each; the suite in ``tests/contract`` is its definition."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Sign, or raise; cancelled when the deadline passes. Holds no lock across a remote call.

        Raises:
            BackendUnavailable: It cannot sign now.
            BackendRefused: It decided against it.
            BackendTimeout: Its far side did not answer in time.
        """
        ...

    async def issuer(self) -> IssuerInfo:
        """Describe the CA that signs now; cheap, from memory where it can be.

        Raises:
            BackendUnavailable: Not known now.
        """
        ...

    async def probe(self) -> None:
        """Check that signing would work now, cheaply and without side effect.

        Raises:
            BackendUnavailable: It would not.
        """
        ...

    async def start(self) -> None:
        """Get ready (read keys, log in): one attempt, good or bad, before the first ``sign``. Must not raise."""
        ...

    async def run(self) -> None:
        """Do the backend's background work (re-reading keys, renewing leases) until cancelled."""
        ...

    async def close(self) -> None:
        """Release what it holds; called once, after the last ``sign``."""
        ...


@runtime_checkable
class AnnouncesChange(Protocol):
    """A backend that knows when its issuer changes, so that nobody has to ask again and again."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, on the event loop, after each change of the issuer."""
        ...


@runtime_checkable
class AnswersAtOnce(Protocol):
    """A backend that may say that ``issuer`` and ``sign`` never wait, so that nobody need limit their time."""

    @property
    def answers_at_once(self) -> bool:
        """Whether they never do."""
        ...


class BundleSource(Protocol):
    """Where the current trust bundle comes from."""

    def current(self) -> TrustBundle:
        """The bundle as of now, from memory."""
        ...

    async def refresh(self) -> TrustBundle:
        """Ask every backend for its roots again."""
        ...

    def extended(self, base: TrustBundle, cluster: str, namespace: str) -> TrustBundle:
        """Add the roots that answers to the callers of one cluster and namespace carry beyond ``base``."""
        ...


class Leads(Protocol):
    """Knows whether this replica does the work that only one of them may do."""

    @property
    def leads(self) -> bool:
        """Whether it leads now. Another one may think so too for a moment: writes need a guard of their own."""
        ...


class Observer(Protocol):
    """Told of every request once, when it is over."""

    def record(self, outcome: Outcome) -> None:
        """Count it, log it, audit it. Must not raise and must not block."""
        ...
