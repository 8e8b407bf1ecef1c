"""The path of one CSR, from credentials to ``cert_chain``; every exit leaves one Outcome behind."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from signer.core.chain import VerifiedChain, layout
from signer.core.csr import ParsedCsr, parse_csr
from signer.core.csr_rules import CheckedCsr, check_csr, requested_names
from signer.core.errors import (
    AuthenticationUnavailable,
    BackendTimeout,
    BackendUnavailable,
    ChainRejected,
    CsrRejected,
    Meaning,
    Overloaded,
    SignerError,
    meaning,
)
from signer.core.keys import describe
from signer.core.ports import Authenticator, Authorizer, Backend, BundleSource, Clock, Observer
from signer.core.types import Credentials, Grant, IssuedChain, Outcome, SigningRequest
from signer.core.validity import decide
from signer.core.verify import ChainVerifier
from signer.issue.admission import Admission
from signer.issue.route import Route, Router
from signer.issue.trace import Trace


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """One call as it came off the wire, nothing in it believed yet.

    Attributes:
        id: The request's id, ours.
        csr: PEM text.
        ttl: ``validity_duration``, seconds.
        credentials: What the caller showed.
        signer_name: ``CertSigner`` of the metadata; empty for none.
        impersonated: ``ImpersonatedIdentity`` of the metadata; empty for none.
        peer: The network address, for the audit.
        budget: Seconds until the answer must be on its way.
    """

    id: str
    csr: str
    ttl: int
    credentials: Credentials
    budget: float
    signer_name: str = ""
    impersonated: str = ""
    peer: str = ""


@dataclass(frozen=True, slots=True)
class _Order:
    """A request that may be signed: who wants it, for whom, and the CSR that passed every rule."""

    request: IssueRequest
    grant: Grant
    csr: CheckedCsr


# What running out of time means, by the stage it happened in: an agent must not take a slow API server for a refusal.
TIMEOUTS: dict[str, type[SignerError]] = {
    "admission": Overloaded,
    "authn": AuthenticationUnavailable,
    "authz": AuthenticationUnavailable,
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is made of; the composition root fills it.

    Attributes:
        chance: A source of numbers in [0, 1) for lifetimes' jitter.
    """

    admission: Admission
    authenticator: Authenticator
    authorizer: Authorizer
    router: Router
    bundle: BundleSource
    observer: Observer
    clock: Clock
    # Jitter spreads renewals; nobody gains by guessing it.
    chance: Callable[[], float] = random.random


class Pipeline:
    """Issues certificates."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._router = parts.router
        self._verifier = ChainVerifier()

    def use(self, router: Router) -> None:
        """Route by other rules from the next request on."""
        self._router = router

    async def issue(self, request: IssueRequest) -> tuple[str, ...]:
        """Answer one call with the elements of ``cert_chain``.

        Raises:
            SignerError: The refusal, already recorded.
        """
        trace = Trace(self._parts.clock, _outcome(request, self._parts.clock.now()))
        try:
            async with asyncio.timeout(max(0.0, request.budget)) as deadline:
                answer = await self._run(request, trace)
            trace.succeeded()
            return answer
        except TimeoutError as error:
            if not deadline.expired():
                trace.failed(error)
                raise
            late = TIMEOUTS.get(trace.outcome.stage, BackendTimeout)(
                f"the deadline of {request.budget:.1f} s passed in stage {trace.outcome.stage}"
            )
            trace.failed(late)
            raise late from None
        except BaseException as error:
            trace.failed(error)
            raise
        finally:
            self._parts.observer.record(trace.finish())

    def refuse(self, request: IssueRequest, error: SignerError) -> Meaning:
        """Record a call that never became a request; give what to tell its sender."""
        trace = Trace(self._parts.clock, _outcome(request, self._parts.clock.now()))
        trace.failed(error)
        self._parts.observer.record(trace.finish())
        return meaning(error)

    async def _run(self, request: IssueRequest, trace: Trace) -> tuple[str, ...]:
        parts, outcome = self._parts, trace.outcome
        trace.to("admission")
        async with parts.admission:
            trace.to("authn")
            outcome.caller = caller = await parts.authenticator.authenticate(request.credentials)
            # Parsed after authentication: strangers buy no CPU.
            trace.to("csr")
            parsed = parse_csr(request.csr)
            _describe_csr(outcome, parsed)
            trace.to("authz")
            outcome.grant = grant = await parts.authorizer.authorize(caller, request.impersonated)
            trace.to("policy")
            checked = check_csr(parsed, grant.identity)
            route = self._route(grant, request.signer_name, outcome)
            chain = await self._sign(route, _Order(request, grant, checked), trace)
            _describe_leaf(outcome, chain)
            return layout(chain)

    def _route(self, grant: Grant, signer_name: str, outcome: Outcome) -> Route:
        route = self._router.route(grant, signer_name)
        outcome.route = route.name
        fault = route.profile.key_fault(outcome.key)
        if fault is not None:
            raise CsrRejected(f"key: {fault}")
        return route

    async def _sign(self, route: Route, order: _Order, trace: Trace) -> VerifiedChain:
        """Try the route's backends in order; the next one is asked only where the last was unavailable."""
        unavailable: BackendUnavailable | None = None
        for backend in route.backends:
            trace.outcome.backend = backend.name
            try:
                return await self._sign_with(backend, route, order, trace)
            except BackendUnavailable as error:
                unavailable = error
        raise unavailable or BackendUnavailable(f"route {route.name} has no backend")

    async def _sign_with(self, backend: Backend, route: Route, order: _Order, trace: Trace) -> VerifiedChain:
        trace.to("backend")
        issuer = await backend.issuer()
        now, chance = self._parts.clock.now(), self._parts.chance()
        validity = decide(order.request.ttl, route.profile.validity, now, issuer.window, chance)
        request = SigningRequest(
            id=order.request.id,
            subject=order.grant.identity,
            csr=order.csr,
            validity=validity,
            signer_name=order.request.signer_name,
            grant=order.grant,
        )
        issued = await backend.sign(request)
        trace.to("verify")
        return await self._verify(issued, request)

    async def _verify(self, issued: IssuedChain, request: SigningRequest) -> VerifiedChain:
        """Verify against the bundle of now; where that fails, once more against what the backends say anew."""
        bundle, now = self._parts.bundle.current(), self._parts.clock.now()
        try:
            return self._verifier.verify(issued, request, bundle, now)
        except ChainRejected:
            fresh = await self._parts.bundle.refresh()
            if fresh.digest == bundle.digest:
                raise
        return self._verifier.verify(issued, request, fresh, now)


# Of a stranger's text in log and audit; identities and names that can be good are shorter.
MAX_SHOWN = 320


def _outcome(request: IssueRequest, now: datetime) -> Outcome:
    return Outcome(
        request_id=request.id,
        time=now.isoformat(timespec="milliseconds"),
        peer=request.peer,
        cluster=request.credentials.cluster[:MAX_SHOWN],
        requested_identity=request.impersonated[:MAX_SHOWN],
        requested_ttl=request.ttl,
        signer_name=request.signer_name[:MAX_SHOWN],
    )


def _describe_csr(outcome: Outcome, parsed: ParsedCsr) -> None:
    outcome.key = describe(parsed.key)
    outcome.csr_digest = parsed.digest
    if not outcome.requested_identity:
        outcome.requested_identity = ", ".join(str(n.value)[:200] for n in requested_names(parsed)[:4])


def _describe_leaf(outcome: Outcome, chain: VerifiedChain) -> None:
    outcome.serial = f"{chain.leaf.serial_number:x}"
    outcome.not_before = chain.leaf.not_valid_before_utc
    outcome.not_after = chain.leaf.not_valid_after_utc
