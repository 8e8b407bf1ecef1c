"""The path of one CSR when time runs out, the caller goes away, a backend is down or the bundle is old."""

import asyncio
from dataclasses import replace

import pytest
from cryptography import x509

from signer.core.chain import TrustBundle
from signer.core.errors import (
    BackendTimeout,
    BackendUnavailable,
    Code,
    meaning,
)
from signer.core.types import IssuedChain
from signer.issue.admission import Admission
from signer.issue.pipeline import TIMEOUTS
from tests.support.fakes import FakeBackend, FakeBundle
from tests.support.line import Line
from tests.support.pki import key, make_ca, make_leaf, spki
from tests.support.waiting import give_up, settle

_SOON = 0.02


def _held(stage: str) -> Line:
    line = Line(backends=(FakeBackend("first"),))
    if stage == "verify":
        line.have_verification_fail()
    line.switch(stage).held = True
    return line


@pytest.mark.parametrize("stage", ["authn", "authz", "backend", "verify"])
async def test_deadline(stage: str) -> None:
    """What running out of time means depends on where."""
    line = _held(stage)
    outcome = await line.refused(budget=_SOON)
    expected = TIMEOUTS.get(stage, BackendTimeout)
    assert (outcome.error, outcome.stage) == (expected.__name__, stage)
    assert outcome.code is meaning(expected("")).code
    told = [f"the deadline of 0.0 s passed in stage {stage}"]
    # Of so little time, the slice that a backend must leave is a millisecond: either limit may be the first.
    told += ["backend first: no answer within 0.02 s"] if stage == "backend" else []
    assert outcome.reason in told
    assert line.admission.in_flight == 0


async def test_deadline_at_the_door() -> None:
    """Still waiting for a place: overloaded."""
    line = Line(admission=Admission(1, 1, 60.0))
    async with line.admission:
        outcome = await line.refused(budget=_SOON)
    assert (outcome.error, outcome.code) == ("Overloaded", Code.RESOURCE_EXHAUSTED)


async def test_deadline_reaches_the_backend() -> None:
    """A backend is cancelled, not left running."""
    line = _held("backend")
    await line.refused(budget=_SOON)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_negative_budget() -> None:
    """A client's deadline that has passed already."""
    assert (await _held("authn").refused(budget=-1.0)).error == "AuthenticationUnavailable"


@pytest.mark.parametrize("stage", ["authn", "authz", "backend", "verify"])
async def test_cancelled(stage: str) -> None:
    """The caller goes away: recorded once, and the cancellation goes on."""
    line = _held(stage)
    task = line.started()
    await line.switch(stage).entered.wait()
    await give_up(task)
    assert task.cancelled()
    outcome = line.witness.only
    assert (outcome.code, outcome.error, outcome.stage) == (Code.CANCELLED, "CancelledError", stage)
    assert outcome.bug is None
    assert line.admission.in_flight == 0


async def test_cancelled_at_the_door() -> None:
    """Even while waiting to be let in."""
    line = Line(admission=Admission(1, 1, 60.0))
    async with line.admission:
        task = line.started()
        await settle()
        await give_up(task)
    assert line.witness.only.stage == "admission"


@pytest.mark.parametrize("part", ["signing", "describing"])
async def test_next_backend_when_unavailable(part: str) -> None:
    """The second one signs, and the Outcome names it."""
    line = Line()
    getattr(line.backends[0], part).fault = BackendUnavailable("down")
    await line.issue()
    assert line.witness.only.backend == "second"
    assert len(line.backends[1].requests) == 1


async def test_a_bad_chain_leads_to_no_other_backend() -> None:
    """It is a fault to be seen, not one to be worked around."""
    line = Line()
    line.backends[0].bend = lambda issued: replace(issued, leaf=make_ca("odd").certificate)
    assert (await line.refused()).error == "ChainRejected"
    assert line.backends[1].requests == []


async def test_all_backends_unavailable() -> None:
    """The last one's reason is told."""
    line = Line()
    for number, backend in enumerate(line.backends):
        backend.signing.fault = BackendUnavailable(f"down {number}")
    outcome = await line.refused()
    assert (outcome.backend, outcome.reason, outcome.code) == ("second", "down 1", Code.UNAVAILABLE)


async def test_no_backend_at_all() -> None:
    """A route that leads nowhere."""
    assert (await Line(backends=()).refused()).reason == "route only has no backend"


async def test_refresh_finds_the_new_root() -> None:
    """The CA changed a moment ago: asked again, the backends name its root, and the answer carries it."""
    line = Line()
    line.have_verification_fail()
    line.bundle.next = TrustBundle.of([make_ca("old root").certificate, make_ca("root").certificate])
    _, roots = await line.issue()
    assert roots == line.bundle.next.pem
    assert line.bundle.switch.calls == 1


@pytest.mark.parametrize("found", ["the same", "another"])
async def test_refresh_finds_nothing(found: str) -> None:
    """One refresh, no more; then it is refused."""
    line = Line()
    line.have_verification_fail()
    if found == "another":
        line.bundle.next = TrustBundle.of([make_ca("third root").certificate])
    outcome = await line.refused()
    assert (outcome.error, outcome.stage, line.bundle.switch.calls) == ("ChainRejected", "verify", 1)


async def test_no_refresh_without_need() -> None:
    """A good answer asks nobody."""
    line = Line()
    await line.issue()
    assert line.bundle.switch.calls == 0


async def test_no_refresh_for_the_leafs_own_fault() -> None:
    """No root mends another's leaf; a backend that keeps giving such must not have all of them asked each time."""
    line = Line()
    line.backends[0].bend = lambda _: IssuedChain(make_leaf(make_ca("root"), spki(key("p256/csr")), ()))
    assert (await line.refused()).reason.startswith("leaf ")
    assert line.bundle.switch.calls == 0


async def test_backends_intermediates_are_laid_out() -> None:
    """What a backend returns beside the leaf is proven and comes between leaf and roots."""
    root = make_ca("root")
    below = make_ca("below", root)
    backend = FakeBackend("first", below)
    backend.bend = lambda issued: IssuedChain(issued.leaf, (root.certificate, below.certificate))
    line = Line(backends=(backend,), bundle=FakeBundle(root))
    _, middle, last = await line.issue()
    assert x509.load_pem_x509_certificate(middle.encode()) == below.certificate
    assert last == line.bundle.now.pem
