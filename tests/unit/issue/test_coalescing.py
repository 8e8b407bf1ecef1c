"""The same CSR of the same caller costs one call of the backend; anybody else's costs its own."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from signer.core.chain import TrustBundle
from signer.core.errors import AuthenticationFailed, BackendRefused, BackendTimeout, BackendUnavailable, Code
from signer.core.identity import SpiffeId
from signer.core.types import Caller, PodRef
from signer.core.validity import ValidityPolicy
from signer.issue.pipeline import Pipeline
from signer.issue.profile import Profile
from signer.issue.request import IssueRequest
from tests.corpus.build import URI, good_csr
from tests.support.clock import DAY
from tests.support.fakes import CALLER, FakeBackend
from tests.support.line import Line, call
from tests.support.pki import make_ca
from tests.support.waiting import give_up, settle, until

_CSR = good_csr()
_SAME = replace(call(), csr=_CSR)


class Shop:
    """One pipeline that stays, over one backend."""

    def __init__(self, **changes: object) -> None:
        self.line = Line(backends=(FakeBackend("first"),), **changes)  # type: ignore[arg-type]
        self.line.admission._max_waiting = 100
        self.pipeline = Pipeline(self.line.parts())

    @property
    def backend(self) -> FakeBackend:
        """The one."""
        return self.line.backends[0]

    async def ask(self, request: IssueRequest = _SAME) -> str:
        """The leaf."""
        return (await self.pipeline.issue(request))[0]

    def asking(self, request: IssueRequest = _SAME) -> "asyncio.Task[str]":
        """Somebody who asks."""
        return asyncio.create_task(self.ask(request))

    @property
    def calls(self) -> int:
        """Of the backend."""
        return len(self.backend.requests)

    @property
    def coalesced(self) -> list[str]:
        """What the Outcomes say."""
        return [outcome.coalesced for outcome in self.line.witness.outcomes]


async def test_in_flight() -> None:
    """Two at once, one call, the same leaf; each has its Outcome, and both name the backend."""
    shop = Shop()
    shop.backend.signing.held = True
    one, two = shop.asking(), shop.asking(replace(_SAME, id="r-2"))
    await settle()
    shop.backend.signing.opened.set()
    assert await one == await two
    assert (shop.calls, sorted(shop.coalesced)) == (1, ["", "in_flight"])
    outcomes = shop.line.witness.outcomes
    assert {o.request_id for o in outcomes} == {"r-1", "r-2"}
    assert {(o.code, o.backend) for o in outcomes} == {(Code.OK, "first")}
    assert len({o.serial for o in outcomes}) == 1


async def test_remembered() -> None:
    """For a minute, and no longer."""
    shop = Shop()
    first = await shop.ask()
    shop.line.clock.advance(59.9)
    assert await shop.ask() == first
    shop.line.clock.advance(0.2)
    assert await shop.ask() != first
    assert (shop.calls, shop.coalesced) == (2, ["", "remembered", ""])
    assert shop.line.witness.outcomes[1].backend == "first"


async def test_short_lives_are_remembered_shortly() -> None:
    """A tenth of the life: renewals of a certificate of seconds must get a new one."""
    shop = Shop()
    request = replace(_SAME, ttl=100)
    first = await shop.ask(request)
    shop.line.clock.advance(10.9)
    assert await shop.ask(request) == first
    shop.line.clock.advance(0.2)
    assert await shop.ask(request) != first


def _caller(change: Callable[[Caller], Caller]) -> Callable[[Shop], IssueRequest]:
    def become(shop: Shop) -> IssueRequest:
        shop.line.authenticator.caller = change(shop.line.authenticator.caller)
        # The CSR asks for what is granted; who asks for it is another.
        shop.line.authorizer.granted = CALLER.identity
        return _SAME

    return become


_OTHER = SpiffeId.parse("spiffe://cluster.local/ns/payments/sa/other")
_DIFFERENT: dict[str, Callable[[Shop], IssueRequest]] = {
    "identity": _caller(lambda c: replace(c, identity=_OTHER)),
    "method": _caller(lambda c: replace(c, method="development")),
    "cluster": _caller(lambda c: replace(c, cluster="east")),
    "pod": _caller(lambda c: replace(c, pod=PodRef("api-0", "uid-1"))),
    "no pod": _caller(lambda c: replace(c, pod=None)),
    "CSR": lambda _: replace(_SAME, csr=good_csr("p256/another")),
}


@pytest.mark.parametrize("change", _DIFFERENT.values(), ids=_DIFFERENT.keys())
async def test_another_caller_or_question(change: Callable[[Shop], IssueRequest]) -> None:
    """Nobody gets what another one was answered, remembered or in flight."""
    shop = Shop()
    shop.line.authorizer.granted = CALLER.identity
    first = await shop.ask()
    shop.backend.signing.held = True
    waiting = shop.asking(replace(_SAME, ttl=7200))
    await settle()
    request = change(shop)
    other = shop.asking(replace(request, ttl=7200))
    await settle()
    assert shop.calls == 3
    shop.backend.signing.opened.set()
    assert len({first, await waiting, await other, await shop.ask(request)}) == 4
    assert set(shop.coalesced) == {""}


async def test_impersonation_is_another_question() -> None:
    """Of the same pod with the same CSR: by another right."""
    shop = Shop()
    first = await shop.ask()
    shop.line.authorizer.granted = CALLER.identity
    assert await shop.ask(replace(_SAME, impersonated=URI)) != first
    assert shop.calls == 2


@pytest.mark.parametrize("stage", ["authn", "authz"])
async def test_the_refused_get_nothing_that_is_remembered(stage: str) -> None:
    """Proof and right are asked for each time."""
    shop = Shop()
    await shop.ask()
    shop.line.switch(stage).fault = AuthenticationFailed("gone")
    with pytest.raises(AuthenticationFailed):
        await shop.ask()
    assert shop.coalesced == ["", ""]


async def test_failures_are_not_remembered() -> None:
    """Those in flight share it; the next one asks."""
    shop = Shop()
    shop.backend.signing.held, shop.backend.signing.fault = True, BackendRefused("no")
    askers = [shop.asking() for _ in range(2)]
    await settle()
    shop.backend.signing.opened.set()
    errors = await asyncio.gather(*askers, return_exceptions=True)
    assert [repr(error) for error in errors] == ["BackendRefused('no')"] * 2
    shop.backend.signing.fault = None
    await shop.ask()
    assert shop.calls == 2


async def test_the_first_goes_away() -> None:
    """Its cancellation is its own."""
    shop = Shop()
    shop.backend.signing.held = True
    one, two = shop.asking(), shop.asking()
    await settle()
    await give_up(one)
    shop.backend.signing.opened.set()
    await two
    assert shop.calls == 1
    assert sorted(o.code.value for o in shop.line.witness.outcomes) == ["CANCELLED", "OK"]


async def test_all_go_away() -> None:
    """The backend sees it."""
    shop = Shop()
    shop.backend.signing.held = True
    askers = [shop.asking() for _ in range(2)]
    await settle()
    await give_up(*askers)
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_has_more_time_starts_anew() -> None:
    """The first one's deadline is not the second one's."""
    shop = Shop()
    shop.backend.signing.held = True
    shop.line.admission._places._value = 3
    short = shop.asking(replace(_SAME, budget=0.05))
    long = [shop.asking() for _ in range(2)]
    results = await asyncio.gather(short, return_exceptions=True)
    assert isinstance(results[0], BackendTimeout)
    await until(lambda: shop.calls == 2)
    shop.backend.signing.opened.set()
    await asyncio.gather(*long)
    assert sorted(shop.coalesced) == ["", "", "in_flight"]


async def test_who_has_no_more_time_shares_the_end() -> None:
    """Nobody starts what cannot end."""
    shop = Shop()
    shop.backend.signing.held = True
    askers = [shop.asking(replace(_SAME, budget=0.05)) for _ in range(2)]
    await asyncio.gather(*askers, return_exceptions=True)
    assert shop.calls == 1
    assert [o.error for o in shop.line.witness.outcomes] == ["BackendTimeout"] * 2


async def test_what_no_longer_leads_to_the_bundle_is_dropped() -> None:
    """A root was taken away: what was remembered of it is signed anew."""
    shop = Shop()
    first = await shop.ask()
    shop.backend.ca = make_ca("new root")
    shop.line.bundle.now = shop.line.bundle.next = TrustBundle.of([shop.backend.ca.certificate])
    assert await shop.ask() != first
    assert shop.calls == 2


async def test_new_routes() -> None:
    """What was remembered, and what is under way, is of the old ones."""
    shop = Shop()
    first = await shop.ask()
    shop.backend.signing.held = True
    slow = shop.asking(replace(_SAME, ttl=1800))
    await settle()
    shop.line.profile = Profile(ValidityPolicy(DAY, timedelta(minutes=10)))
    shop.pipeline.use(shop.line.parts().router)
    fresh = shop.asking(replace(_SAME, ttl=1800))
    await settle()
    shop.backend.signing.opened.set()
    assert await slow != await fresh
    assert shop.line.witness.outcomes[-1].not_after == shop.line.clock.now() + timedelta(minutes=10)
    assert await shop.ask() != first
    assert shop.calls == 4


async def test_a_wrong_answer_is_not_remembered() -> None:
    """It is refused, and the next one asks again."""
    shop = Shop()
    shop.backend.bend = lambda issued: replace(issued, leaf=make_ca("odd").certificate)
    for _ in range(2):
        with pytest.raises(Exception, match="leaf"):
            await shop.ask()
    assert shop.calls == 2


async def test_at_once_backends_remember_too() -> None:
    """Without a task of its own; nothing else differs."""
    shop = Shop()
    shop.backend.answers_at_once = True  # type: ignore[attr-defined]
    shop.pipeline = Pipeline(shop.line.parts())
    first = await shop.ask()
    assert await shop.ask() == first
    assert (shop.calls, shop.coalesced) == (1, ["", "remembered"])
    shop.backend.signing.fault = BackendUnavailable("down")
    with pytest.raises(BackendUnavailable):
        await shop.ask(replace(_SAME, ttl=1))
    assert shop.line.witness.outcomes[-1].backend == "first"
