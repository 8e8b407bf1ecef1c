"""Who is denied gets nothing: not a signature, and not the answer of a moment ago."""

from dataclasses import dataclass, field, replace

import pytest

from signer.core.csr_rules import CheckedCsr
from signer.core.errors import Code, PolicyDenied, meaning
from signer.core.types import Caller, Grant
from signer.issue.denials import Denials, NoDenials
from signer.issue.pipeline import Parts, Pipeline
from tests.corpus import csr_names
from tests.corpus.build import good_csr
from tests.support.fakes import CALLER, GRANT, FakeBackend
from tests.support.line import Line, call

_SAME = replace(call(), csr=good_csr())


@dataclass
class Denying:
    """Denies what it is told, and remembers what it was asked."""

    caller: str | None = None
    order: str | None = None
    asked: list[object] = field(default_factory=list)
    handed_out: list[tuple[Grant, CheckedCsr, int]] = field(default_factory=list)

    def caller_fault(self, caller: Caller) -> str | None:
        """As told."""
        self.asked.append(caller)
        return self.caller

    def order_fault(self, grant: Grant, csr: CheckedCsr) -> str | None:
        """As told."""
        self.asked.append((grant, csr.identity))
        return self.order

    def issued(self, grant: Grant, csr: CheckedCsr, serial: int) -> None:
        """Keep it."""
        self.handed_out.append((grant, csr, serial))


class Shop:
    """One pipeline with a deny list."""

    def __init__(self) -> None:
        self.line = Line(backends=(FakeBackend("first"),))
        self.deny = Denying()
        self.pipeline = Pipeline(replace(self.line.parts(), deny=self.deny))

    async def refused(self, csr: str = _SAME.csr) -> tuple[str, str]:
        """Stage and reason of a refusal, and it is the one that callers of a policy get."""
        self.line.witness.outcomes.clear()
        with pytest.raises(PolicyDenied) as refusal:
            await self.pipeline.issue(replace(_SAME, csr=csr))
        assert meaning(refusal.value).code is Code.PERMISSION_DENIED
        outcome = self.line.witness.only
        assert (outcome.code, outcome.error) == (Code.PERMISSION_DENIED, "PolicyDenied")
        assert outcome.serial == ""
        return outcome.stage, outcome.reason


async def test_default() -> None:
    """Nobody is denied."""
    line = Line()
    parts: Parts = line.parts()
    assert isinstance(parts.deny, NoDenials)
    await line.issue()


async def test_what_is_asked() -> None:
    """The caller, then what it was granted; and the certificate is noted."""
    shop = Shop()
    await shop.pipeline.issue(_SAME)
    assert shop.deny.asked == [CALLER, (GRANT, CALLER.identity)]
    ((grant, csr, serial),) = shop.deny.handed_out
    assert (grant, csr.parsed.digest) == (GRANT, shop.line.witness.only.csr_digest)
    assert f"{serial:x}" == shop.line.witness.only.serial


async def test_caller() -> None:
    """Before the CSR is looked at."""
    shop = Shop()
    shop.deny.caller = "denied: identity X (stolen node)"
    assert await shop.refused("not even a CSR") == ("authn", "denied: identity X (stolen node)")
    assert shop.line.witness.only.caller == CALLER
    assert shop.line.witness.only.csr_digest == ""
    assert shop.line.backends[0].requests == []


async def test_order() -> None:
    """Before a route is looked for or a backend asked."""
    shop = Shop()
    shop.deny.order = "denied: key sha256:0"
    assert await shop.refused() == ("policy", "denied: key sha256:0")
    assert shop.line.witness.only.grant == GRANT
    assert (shop.line.backends[0].requests, shop.line.witness.only.route) == ([], "")


async def test_a_csr_that_is_wrong_is_told_first() -> None:
    """What was denied is what could have been had."""
    shop = Shop()
    shop.deny.order = "denied"
    with pytest.raises(Exception, match="names: "):
        await shop.pipeline.issue(replace(_SAME, csr=csr_names.another_account()))


@pytest.mark.parametrize("place", ["caller", "order"])
async def test_the_answer_of_a_moment_ago_is_not_given(place: str) -> None:
    """The same CSR of the same caller within the minute in which answers are remembered."""
    shop = Shop()
    first = await shop.pipeline.issue(_SAME)
    assert await shop.pipeline.issue(_SAME) == first
    assert shop.line.witness.outcomes[-1].coalesced == "remembered"
    setattr(shop.deny, place, "denied: since then")
    assert (await shop.refused())[1] == "denied: since then"
    assert shop.line.witness.only.coalesced == ""
    assert len(shop.deny.handed_out) == 2
    setattr(shop.deny, place, None)
    assert await shop.pipeline.issue(_SAME) == first


def _is_denials(_: Denials) -> None:
    """For the type checker."""


_is_denials(Denying())
