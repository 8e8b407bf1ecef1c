"""The path of one CSR, from credentials to ``cert_chain``; every exit leaves one Outcome behind."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from signer.core.chain import layout
from signer.core.csr import parse_csr
from signer.core.csr_rules import check_csr
from signer.core.errors import (
    AuthenticationUnavailable,
    BackendTimeout,
    CsrRejected,
    Meaning,
    Overloaded,
    SignerError,
    meaning,
)
from signer.core.ports import Authenticator, Authorizer, BundleSource, Clock, Observer
from signer.core.types import Grant, Outcome
from signer.issue.admission import Admission
from signer.issue.denials import Denials, NoDenials, refuse
from signer.issue.request import IssueRequest, Order, describe_csr, describe_leaf, new_outcome
from signer.issue.route import Route, Router
from signer.issue.signing import Signing, SigningParts
from signer.issue.tally import NoTally, Tally
from signer.issue.trace import Trace

Verdict: TypeAlias = Callable[[Grant], str | None]
"""Says, for operators only, why a grant is denied by the rules; None if it is not."""

# What running out of time means, by the stage it happened in: an agent must not take a slow API server for a refusal.
TIMEOUTS: dict[str, type[SignerError]] = {
    "admission": Overloaded,
    "authn": AuthenticationUnavailable,
    "authz": AuthenticationUnavailable,
}
# Of the budget, and in seconds: backends must be done so much before the deadline, for what comes after them.
SLICE, MAX_SLICE = 0.05, 0.2


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is made of; the composition root fills it.

    Attributes:
        chance: A source of numbers in [0, 1) for the jitter of pauses.
        tally: Told what happens on the way to the backends.
        rules: The operator's rules on callers.
        issued: Told of each certificate that is handed out, by its serial.
        quota: Counts a certificate that is to be made, or raises QuotaExceeded.
        deny: Asked before anything is remembered or signed, so that nobody who is denied shares an answer.
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
    tally: Tally = field(default_factory=NoTally)
    deny: Denials = field(default_factory=NoDenials)
    rules: Verdict = lambda _: None
    quota: Callable[[Grant], None] = lambda _: None
    issued: Callable[[Grant, int], None] = lambda _, __: None


class Pipeline:
    """Issues certificates."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._signing = Signing(SigningParts(parts.bundle, parts.clock, parts.tally, parts.chance))
        self.router = parts.router
        """The routes in use."""
        self._rules = parts.rules

    def use(self, router: Router, rules: Verdict | None = None) -> None:
        """Route, and judge callers, by other rules from the next request on; without ``rules`` those stay."""
        self.router = router
        self._rules = rules or self._rules
        self._signing.new_routes()

    async def issue(self, request: IssueRequest) -> tuple[str, ...]:
        """Answer one call with the elements of ``cert_chain``.

        Raises:
            SignerError: The refusal, already recorded.
        """
        trace = Trace(self._parts.clock, new_outcome(request, self._parts.clock.now()))
        budget = max(0.0, request.budget)
        try:
            async with asyncio.timeout(budget) as deadline:
                ends = (deadline.when() or 0.0) - min(SLICE * budget, MAX_SLICE)
                answer = await self._run(request, trace, ends)
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
        trace = Trace(self._parts.clock, new_outcome(request, self._parts.clock.now()))
        trace.failed(error)
        self._parts.observer.record(trace.finish())
        return meaning(error)

    async def _run(self, request: IssueRequest, trace: Trace, ends: float) -> tuple[str, ...]:
        parts, outcome = self._parts, trace.outcome
        trace.to("admission")
        async with parts.admission:
            trace.to("authn")
            outcome.caller = caller = await parts.authenticator.authenticate(request.credentials)
            refuse(parts.deny.caller_fault(caller))
            # Parsed after authentication: strangers buy no CPU.
            trace.to("csr")
            parsed = parse_csr(request.csr)
            describe_csr(outcome, parsed)
            trace.to("authz")
            outcome.grant = grant = await parts.authorizer.authorize(caller, request.impersonated)
            trace.to("policy")
            checked = check_csr(parsed, grant.identity)
            refuse(parts.deny.order_fault(grant, checked))
            refuse(self._rules(grant))
            route = self._route(grant, request.signer_name, outcome)
            parts.quota(grant)
            chain = await self._signing.sign(route, Order(request, grant, checked, ends), trace)
            describe_leaf(outcome, chain)
            parts.deny.issued(grant, checked, chain.leaf.serial_number)
            parts.issued(grant, chain.leaf.serial_number)
            cluster, namespace = caller.cluster, grant.identity.namespace
            return layout(chain, parts.bundle.extended(chain.bundle, cluster, namespace))

    def _route(self, grant: Grant, signer_name: str, outcome: Outcome) -> Route:
        route = self.router.route(grant, signer_name)
        outcome.route = route.name
        fault = route.profile.key_fault(outcome.key)
        if fault is not None:
            raise CsrRejected(f"key: {fault}")
        return route
