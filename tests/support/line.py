"""A whole pipeline over fakes, with every part in reach of the test."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from signer.core.errors import SignerError
from signer.core.globs import Globs
from signer.core.types import Grant, Outcome
from signer.issue.admission import Admission
from signer.issue.guard import Guarded, GuardPolicy
from signer.issue.pipeline import Parts, Pipeline, Verdict
from signer.issue.profile import Profile
from signer.issue.request import IssueRequest
from signer.issue.route import Match, Route, Router
from tests.corpus.build import good_csr
from tests.support.clock import FakeClock
from tests.support.fakes import (
    PROFILE,
    FakeAuthenticator,
    FakeAuthorizer,
    FakeBackend,
    FakeBundle,
    Switch,
    Witness,
    credentials,
)
from tests.support.pki import make_ca


def call() -> IssueRequest:
    """What ztunnel asks for."""
    return IssueRequest(
        id="r-1",
        csr=good_csr(),
        ttl=3600,
        credentials=credentials(cluster="Kubernetes"),
        budget=60.0,
        peer="ipv4:1.2.3.4:5",
    )


@dataclass
class Line:
    """A production line; change its parts, then ``issue``."""

    admission: Admission = field(default_factory=lambda: Admission(2, 0, 60.0))
    authenticator: FakeAuthenticator = field(default_factory=FakeAuthenticator)
    authorizer: FakeAuthorizer = field(default_factory=FakeAuthorizer)
    backends: tuple[FakeBackend, ...] = field(default_factory=lambda: (FakeBackend("first"), FakeBackend("second")))
    bundle: FakeBundle = field(default_factory=lambda: FakeBundle(make_ca("root")))
    witness: Witness = field(default_factory=Witness)
    clock: FakeClock = field(default_factory=FakeClock)
    match: Match = field(default_factory=Match)
    profile: Profile = PROFILE
    chance: float = 0.0
    policy: GuardPolicy = field(default_factory=lambda: GuardPolicy(attempts=1))
    rules: Verdict = lambda _: None
    quota: Callable[[Grant], None] = lambda _: None
    issued: Callable[[Grant, int], None] = lambda _, __: None

    def parts(self) -> Parts:
        """What the pipeline is made of."""
        guarded = tuple(Guarded(backend, self.policy, self.clock) for backend in self.backends)
        return Parts(
            admission=self.admission,
            authenticator=self.authenticator,
            authorizer=self.authorizer,
            router=Router([Route("only", self.match, guarded, self.profile)]),
            bundle=self.bundle,
            observer=self.witness,
            clock=self.clock,
            chance=lambda: self.chance,
            rules=self.rules,
            quota=self.quota,
            issued=self.issued,
        )

    def switch(self, stage: str) -> Switch:
        """What holds or fails a stage that waits for somebody else."""
        return {
            "authn": self.authenticator.switch,
            "authz": self.authorizer.switch,
            "backend": self.backends[0].signing,
            "verify": self.bundle.switch,
        }[stage]

    def have_verification_fail(self) -> None:
        """Have the first verification fail, so that the bundle is refreshed."""
        self.bundle = FakeBundle(make_ca("old root"))

    async def issue(self, request: IssueRequest | None = None, **changes: object) -> tuple[str, ...]:
        """Send one request through."""
        return await Pipeline(self.parts()).issue(replace(request or call(), **changes))  # type: ignore[arg-type]

    async def refused(self, request: IssueRequest | None = None, **changes: object) -> Outcome:
        """Send one that must be refused, and give its one outcome."""
        with pytest.raises(SignerError) as refusal:
            await self.issue(request, **changes)
        outcome = self.witness.only
        assert (outcome.error, outcome.reason) == (type(refusal.value).__name__, refusal.value.reason)
        return outcome

    def started(self, **changes: object) -> "asyncio.Task[tuple[str, ...]]":
        """Send one on its way."""
        return asyncio.create_task(self.issue(None, **changes))


NOBODY = Match(namespaces=Globs(("nobody",)))
