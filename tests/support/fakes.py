"""Fakes behind the ports: each does what it is told and remembers what it was asked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from signer.core import keys
from signer.core.chain import TrustBundle
from signer.core.identity import SpiffeId
from signer.core.spec import BackendContext
from signer.core.types import (
    Caller,
    Credentials,
    Grant,
    IssuedChain,
    IssuerInfo,
    Outcome,
    PodRef,
    Secret,
    SigningRequest,
)
from signer.core.validity import Validity, ValidityPolicy
from signer.issue.profile import Profile
from signer.trust.extras import ExtraRoots
from tests.support.clock import DAY, NOW, FakeClock
from tests.support.pki import Ca, leaf_extensions, make_ca, make_leaf

IDENTITY = SpiffeId.parse("spiffe://cluster.local/ns/payments/sa/api")
CALLER = Caller(IDENTITY, "token-review", "Kubernetes", PodRef("api-0", "uid-0", "node-0"))
GRANT = Grant(IDENTITY, CALLER)
PROFILE = Profile(ValidityPolicy(DAY, DAY))
VALIDITY = Validity(NOW - timedelta(seconds=60), NOW + timedelta(hours=1), 3600)


def context(clock: FakeClock | None = None, name: str = "fake") -> BackendContext:
    """What a backend is built with."""
    return BackendContext(name, clock or FakeClock())


@dataclass
class Switch:
    """Holds whoever awaits it until it is opened; raises instead where told."""

    fault: BaseException | None = None
    held: bool = False
    calls: int = 0
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def passing(self) -> None:
        """Note the call, wait while held, raise where told."""
        self.calls += 1
        self.entered.set()
        if self.held:
            await self.opened.wait()
        if self.fault is not None:
            raise self.fault


class FakeAuthenticator:
    """Takes everybody for ``caller``."""

    def __init__(self, caller: Caller = CALLER) -> None:
        self.caller = caller
        self.switch = Switch()

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove anybody."""
        await self.switch.passing()
        return self.caller


class FakeAuthorizer:
    """Grants everybody their own identity, or the one it is told."""

    def __init__(self) -> None:
        self.switch = Switch()
        self.granted: SpiffeId | None = None

    async def authorize(self, caller: Caller, impersonated: str) -> Grant:
        """Grant it."""
        await self.switch.passing()
        return Grant(self.granted or caller.identity, caller, self.granted is not None)


class FakeJudge:
    """Judges every token good."""

    def __init__(self, caller: Caller = CALLER) -> None:
        self.caller = caller
        self.switch = Switch()
        self.tokens: list[str] = []

    async def judge(self, token: str) -> Caller:
        """Say so."""
        self.tokens.append(token)
        await self.switch.passing()
        return self.caller


class FakeBackend:
    """Signs with a CA in memory, or does not, as told; ``bend`` may change its answers."""

    def __init__(self, name: str = "fake", ca: Ca | None = None) -> None:
        self.name = name
        self.ca = ca or make_ca("root")
        self.roots: tuple[Ca, ...] = (self.ca,)
        self.configured = False
        self.signing, self.describing, self.probing = Switch(), Switch(), Switch()
        self.bend: Callable[[IssuedChain], IssuedChain] = lambda issued: issued
        self.requests: list[SigningRequest] = []

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Sign what was asked for."""
        self.requests.append(request)
        await self.signing.passing()
        window = (request.validity.not_before, request.validity.not_after)
        leaf = make_leaf(
            self.ca, keys.spki(request.csr.parsed.key), leaf_extensions(str(request.subject)), window=window
        )
        return self.bend(IssuedChain(leaf))

    async def issuer(self) -> IssuerInfo:
        """Describe the CA."""
        await self.describing.passing()
        certificate = self.ca.certificate
        window = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        roots = tuple(ca.certificate for ca in self.roots)
        return IssuerInfo(roots, (certificate,), window, self.configured)

    async def probe(self) -> None:
        """Find it well."""
        await self.probing.passing()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def run(self) -> None:
        """Nothing to do in the background."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing to release."""


class AnnouncingBackend(FakeBackend):
    """One that tells when its CA changes."""

    def __init__(self, name: str = "fake", ca: Ca | None = None) -> None:
        super().__init__(name, ca)
        self.callbacks: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Take the callback."""
        self.callbacks.append(callback)

    def swap(self, ca: Ca) -> None:
        """Change the CA and tell."""
        self.ca, self.roots = ca, (ca,)
        for callback in self.callbacks:
            callback()


class FakeBundle:
    """A bundle source: what it has now, and what a refresh will find."""

    def __init__(self, *roots: Ca) -> None:
        self.now = TrustBundle.of(ca.certificate for ca in roots)
        self.next = self.now
        self.switch = Switch()
        self.extras: ExtraRoots | None = None

    def current(self) -> TrustBundle:
        """What it has."""
        return self.now

    async def refresh(self) -> TrustBundle:
        """What is found."""
        await self.switch.passing()
        self.now = self.next
        return self.now

    def extended(self, base: TrustBundle, cluster: str, namespace: str) -> TrustBundle:
        """Nobody's answers carry more, but where there are extras."""
        return self.extras.extended(base, cluster, namespace) if self.extras else base


class Witness:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def record(self, outcome: Outcome) -> None:
        """Keep it."""
        self.outcomes.append(outcome)

    @property
    def only(self) -> Outcome:
        """The one outcome there must be."""
        (outcome,) = self.outcomes
        return outcome


def credentials(token: str | None = "token", cluster: str = "") -> Credentials:
    """What a caller shows."""
    return Credentials(None if token is None else Secret(token), cluster)
