"""What the pipeline asks about a caller before a backend is asked: rules, then quotas; and whom it tells afterwards."""

from dataclasses import dataclass, field

import pytest
from cryptography import x509

from signer.core.errors import BackendUnavailable, Code, PolicyDenied, QuotaExceeded
from signer.core.types import Grant
from signer.issue.guard import Guarded
from signer.issue.pipeline import Pipeline
from signer.issue.route import Match, Route, Router
from tests.corpus import csr_names
from tests.support.fakes import GRANT, PROFILE, FakeBackend
from tests.support.line import Line, call


@dataclass
class Desk:
    """Rules and a quota as they are told to be, and what they were asked; and who was told of certificates."""

    fault: str | None = None
    full: bool = False
    asked: list[str] = field(default_factory=list)
    issued: list[tuple[Grant, int]] = field(default_factory=list)

    def rules(self, grant: Grant) -> str | None:
        """Judge by ``fault``."""
        assert grant == GRANT
        self.asked.append("rules")
        return self.fault

    def quota(self, grant: Grant) -> None:
        """Refuse where it is full."""
        assert grant == GRANT
        self.asked.append("quota")
        if self.full:
            raise QuotaExceeded("identity: 1 certificate")

    def line(self) -> Line:
        """A line that asks here."""
        return Line(rules=self.rules, quota=self.quota, issued=lambda *told: self.issued.append(told))


def _calls(line: Line) -> int:
    return sum(len(backend.requests) for backend in line.backends)


async def test_both_are_asked_and_in_this_order() -> None:
    """Once each: who is denied takes nothing from a quota."""
    desk = Desk()
    await desk.line().issue()
    assert desk.asked == ["rules", "quota"]


async def test_a_rule_that_denies() -> None:
    """No backend hears of it, nor does the quota; and nobody is told of a certificate."""
    desk = Desk(fault="denied by rule 'shop'")
    line = desk.line()
    outcome = await line.refused()
    assert (outcome.error, outcome.code, outcome.stage) == (PolicyDenied.__name__, Code.PERMISSION_DENIED, "policy")
    assert "denied by rule 'shop'" in outcome.reason
    assert (_calls(line), desk.asked, desk.issued) == (0, ["rules"], [])


async def test_a_quota_that_is_used_up() -> None:
    """No backend hears of it; the caller is to come back."""
    desk = Desk(full=True)
    line = desk.line()
    outcome = await line.refused()
    assert (outcome.error, outcome.stage, outcome.reason) == ("QuotaExceeded", "policy", "identity: 1 certificate")
    assert (_calls(line), desk.asked, desk.issued) == (0, ["rules", "quota"], [])


async def test_what_fails_before_takes_nothing_of_a_quota() -> None:
    """A CSR of somebody else's names."""
    desk = Desk()
    outcome = await desk.line().refused(csr=csr_names.another_account())
    assert (outcome.error, desk.asked) == ("IdentityRejected", [])


async def test_each_certificate_is_told_of_once() -> None:
    """With the grant, and the serial of what the caller gets."""
    desk = Desk()
    line = desk.line()
    pipeline = Pipeline(line.parts())
    leaf, *_ = await pipeline.issue(call())
    serial = x509.load_pem_x509_certificate(leaf.encode()).serial_number
    assert desk.issued == [(GRANT, serial)]


async def test_what_was_not_issued_is_not_told_of() -> None:
    desk = Desk()
    line = desk.line()
    for backend in line.backends:
        backend.signing.fault = BackendUnavailable("sealed")
    await line.refused()
    assert desk.issued == []


@pytest.mark.parametrize("first", [None, "denied by rule 'old'"])
async def test_other_rules_count_from_the_next_request_on(first: str | None) -> None:
    """Those that are given; without any, the old ones stay."""
    desk = Desk(fault=first)
    line = desk.line()
    pipeline, answers = Pipeline(line.parts()), []
    for rules in (None, lambda _: "denied by rule 'new'", None, lambda _: None):
        pipeline.use(pipeline.router, rules)
        try:
            await pipeline.issue(call())
            answers.append("")
        except PolicyDenied as error:
            answers.append(error.reason)
    assert answers == [first or "", "denied by rule 'new'", "denied by rule 'new'", ""]


async def test_other_routes_count_from_the_next_request_on() -> None:
    """Though the same CSR was answered a moment ago."""
    line, other = Line(), FakeBackend("other")
    other.ca = line.backends[0].ca
    pipeline = Pipeline(line.parts())
    await pipeline.issue(call())
    fresh = Router([Route("new", Match(), (Guarded(other, line.policy, line.clock),), PROFILE)])
    pipeline.use(fresh)
    assert pipeline.router is fresh
    await pipeline.issue(call())
    assert ([outcome.route for outcome in line.witness.outcomes], len(other.requests)) == (["only", "new"], 1)
