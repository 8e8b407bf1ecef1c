"""The path of one CSR: what each stage does to the answer, and the one Outcome at the end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from signer.core.errors import (
    AuthenticationFailed,
    AuthenticationUnavailable,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    Code,
    ImpersonationDenied,
    SignerError,
)
from signer.core.identity import SpiffeId
from signer.core.types import Outcome
from signer.core.validity import ValidityPolicy
from signer.issue.admission import Admission
from signer.issue.profile import Profile
from tests.corpus import csr_encoding, csr_names
from tests.corpus.build import IDENTITY, URI, good_csr
from tests.support.clock import DAY, HOUR, NOW
from tests.support.fakes import CALLER, FakeBackend, FakeBundle
from tests.support.line import NOBODY, Line, call
from tests.support.pki import make_ca


async def test_success() -> None:
    """Leaf and root come out, and the Outcome says all about it."""
    line = Line()
    leaf_pem, root_pem = await line.issue()
    leaf = x509.load_pem_x509_certificate(leaf_pem.encode())
    assert root_pem == line.bundle.now.pem
    outcome = line.witness.only
    assert (outcome.code, outcome.stage, outcome.error, outcome.reason) == (Code.OK, "done", "", "")
    assert (outcome.caller, outcome.route, outcome.backend) == (CALLER, "only", "first")
    assert (outcome.key, outcome.requested_identity, outcome.requested_ttl) == ("P-256", URI, 3600)
    assert outcome.serial == f"{leaf.serial_number:x}"
    assert (outcome.not_before, outcome.not_after) == (NOW - timedelta(seconds=60), NOW + HOUR)
    assert (outcome.peer, outcome.cluster) == ("ipv4:1.2.3.4:5", "Kubernetes")
    assert outcome.time == "2025-06-01T12:00:00.000+00:00"


async def test_what_the_backend_is_asked() -> None:
    """The granted identity, the checked CSR, a decided window."""
    line = Line(profile=Profile(ValidityPolicy(HOUR, HOUR)))
    await line.issue(ttl=10**9)
    (request,) = line.backends[0].requests
    assert (request.id, request.subject, request.csr.identity) == ("r-1", IDENTITY, IDENTITY)
    assert request.validity.not_after == NOW + HOUR
    assert request.grant is not None
    assert request.grant.caller == CALLER


async def test_all_tries_of_a_csr_ask_for_one_lifetime() -> None:
    """Whichever replica they reach: a backend that finds the first try's certificate gives that one."""
    ends = set()
    for chance in (0.1, 0.9):
        line = Line(chance=chance, profile=Profile(ValidityPolicy(DAY, DAY, jitter=0.1)))
        await line.issue(ttl=0)
        ends.add(line.backends[0].requests[0].validity.not_after)
    assert len(ends) == 1
    assert NOW + 0.9 * DAY < ends.pop() < NOW + DAY


async def test_lifetimes_of_different_csrs_spread() -> None:
    """So that what was started together is not renewed together."""
    line = Line(profile=Profile(ValidityPolicy(DAY, DAY, jitter=0.5)))
    for number in range(20):
        await line.issue(ttl=0, csr=good_csr(f"p256/{number}"))
    lifetimes = [request.validity.not_after - NOW for request in line.backends[0].requests]
    assert len(set(lifetimes)) == 20
    assert max(lifetimes) - min(lifetimes) > 0.1 * DAY


async def test_stage_times() -> None:
    """Each stage's time is on its own account; together they are the whole."""
    line = Line()
    line.backends[0].signing.held = True
    task = line.started()
    await line.backends[0].signing.entered.wait()
    line.clock.advance(1.5)
    line.backends[0].signing.opened.set()
    await task
    outcome = line.witness.only
    assert outcome.stages["backend"] == pytest.approx(1.5)
    assert outcome.seconds == pytest.approx(sum(outcome.stages.values())) == pytest.approx(1.5)
    assert set(outcome.stages) >= {"admission", "authn", "csr", "authz", "policy", "backend", "verify"}


def _fails(stage: str, error: SignerError) -> Line:
    line = Line(backends=(FakeBackend("first"),))
    line.switch(stage).fault = error
    return line


_EXPIRED = make_ca("root", window=(NOW - DAY, NOW + timedelta(seconds=5)))
_FAILURES = {
    "overloaded": (Line(admission=Admission(0, 0, 1.0)), {}, Code.RESOURCE_EXHAUSTED, "admission", "in flight"),
    "bad token": (_fails("authn", AuthenticationFailed("bad")), {}, Code.UNAUTHENTICATED, "authn", "bad"),
    "api down": (_fails("authn", AuthenticationUnavailable("down")), {}, Code.UNAVAILABLE, "authn", "down"),
    "malformed": (Line(), {"csr": csr_encoding.two_blocks()}, Code.INVALID_ARGUMENT, "csr", "one PEM block"),
    "impersonation": (_fails("authz", ImpersonationDenied("no")), {}, Code.UNAUTHENTICATED, "authz", "no"),
    "names": (Line(), {"csr": csr_names.another_account()}, Code.INVALID_ARGUMENT, "policy", "names: "),
    "no route": (Line(match=NOBODY), {}, Code.FAILED_PRECONDITION, "policy", "no route"),
    "named signer": (
        Line(),
        {"credentials": replace(call().credentials, signer_name="x")},
        Code.FAILED_PRECONDITION,
        "policy",
        "CertSigner 'x'",
    ),
    "key type": (
        Line(profile=Profile(ValidityPolicy(DAY, DAY), frozenset({"RSA"}))),
        {},
        Code.INVALID_ARGUMENT,
        "policy",
        "key: the key is P-256",
    ),
    "lifetime": (
        Line(profile=Profile(ValidityPolicy(HOUR, HOUR, "reject"))),
        {"ttl": 3601},
        Code.INVALID_ARGUMENT,
        "backend",
        "3601 s were asked for",
    ),
    "refused": (_fails("backend", BackendRefused("denied")), {}, Code.FAILED_PRECONDITION, "backend", "denied"),
    "timeout": (_fails("backend", BackendTimeout("slow")), {}, Code.DEADLINE_EXCEEDED, "backend", "slow"),
    "chain": (Line(bundle=FakeBundle(make_ca("other"))), {}, Code.FAILED_PRECONDITION, "verify", "path: "),
}


@pytest.mark.parametrize(("line", "changes", "code", "stage", "reason"), _FAILURES.values(), ids=_FAILURES.keys())
async def test_failures(line: Line, changes: dict[str, object], code: Code, stage: str, reason: str) -> None:
    """Each stage's failure: its code, its stage and its reason in the one Outcome."""
    outcome = await line.refused(replace(call(), **changes))  # type: ignore[arg-type]
    assert (outcome.code, outcome.stage) == (code, stage)
    assert reason in outcome.reason
    assert outcome.serial == ""
    assert outcome.bug is None
    assert line.admission.in_flight == 0


async def test_an_issuer_about_to_end() -> None:
    """Refused before the backend signs."""
    line = Line()
    line.backends[0].ca = _EXPIRED
    assert (await line.refused()).error == "RefusedLocally"
    assert line.backends[0].requests == []


async def test_strangers_buy_no_cpu() -> None:
    """A bad token is found before the CSR is looked at."""
    line = _fails("authn", AuthenticationFailed("bad"))
    outcome = await line.refused(csr="not even a CSR")
    assert (outcome.error, outcome.csr_digest) == ("AuthenticationFailed", "")


async def test_the_granted_identity_is_what_counts() -> None:
    """A node proxy gets its workload's certificate and, with that grant, not its own."""
    line = Line()
    line.authorizer.granted = SpiffeId.parse(URI.replace("api", "web"))
    await line.issue(csr=good_csr(uri=URI.replace("api", "web")), impersonated=URI.replace("api", "web"))
    assert line.backends[0].requests[0].subject == line.authorizer.granted
    line.witness.outcomes.clear()
    assert (await line.refused()).error == "IdentityRejected"


async def test_impersonation_is_what_was_requested() -> None:
    """The Outcome names the identity that the metadata asked for."""
    line = Line()
    await line.issue(impersonated="spiffe://cluster.local/ns/x/sa/y")
    assert line.witness.only.requested_identity == "spiffe://cluster.local/ns/x/sa/y"


@pytest.mark.parametrize("error", [ValueError("leak"), TimeoutError("leak"), KeyError("leak")], ids=repr)
async def test_bugs(error: Exception) -> None:
    """A foreign exception comes through as it is, and is told as a bug, without its message."""
    line = Line(backends=(FakeBackend("first"),))
    line.switch("backend").fault = error
    with pytest.raises(type(error)):
        await line.issue()
    outcome = line.witness.only
    assert (outcome.code, outcome.error, outcome.bug) == (Code.INTERNAL, type(error).__name__, error)
    assert outcome.citadel_error == "UNKNOWN"
    assert "leak" not in outcome.reason


async def test_unavailable_is_not_a_bug() -> None:
    """Its label is Istio's."""
    line = Line()
    line.backends = line.backends[:1]
    line.switch("backend").fault = BackendUnavailable("sealed")
    outcome = await line.refused()
    assert (outcome.citadel_error, outcome.bug) == ("CA_NOT_READY", None)


def _expected(outcome: Outcome) -> tuple[Code, str]:
    return outcome.code, outcome.stage


async def test_reused_line_keeps_outcomes_apart() -> None:
    """Two requests, two Outcomes."""
    line = Line()
    await line.issue(id="a")
    await line.issue(id="b")
    assert [(o.request_id, *_expected(o)) for o in line.witness.outcomes] == [
        ("a", Code.OK, "done"),
        ("b", Code.OK, "done"),
    ]
