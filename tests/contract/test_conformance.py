"""The definition of a backend: whatever signs, the pipeline may rely on this."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import backends
from signer.core.chain import TrustBundle, VerifiedChain, layout
from signer.core.errors import BackendError, BackendRefused, BackendTimeout, BackendUnavailable, ChainRejected
from signer.core.ports import AnnouncesChange
from signer.core.types import IssuedChain, ServerNames, SigningRequest
from signer.core.verify import ChainVerifier
from tests.contract.far_side import FarSide, Stage, asked_at, server_asked_at
from tests.contract.far_sides import AT_ONCE, FAR_SIDES, VARIANTS
from tests.contract.tampering import TAMPERED
from tests.contract.waiting import Changes

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=sorted(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    """Each way to sign in turn."""
    return str(request.param)


class OnStage:
    """A far side whose backend works in the background once it has been started, as in a server."""

    def __init__(self, far: FarSide) -> None:
        self.far = far
        self.backend, self.clock = far.backend, far.clock
        self._work: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Have a CA that signs."""
        await self.far.prepare()
        self._work = asyncio.create_task(self.backend.run())
        # On a busy machine the first attempt may be too slow; the backend then tries again by itself.
        await Changes(self.backend, self.clock).seen()

    async def take_away(self) -> None:
        """Have nothing that could sign."""
        await self.far.take_away()
        self._work = asyncio.create_task(self.backend.run())

    async def end(self) -> None:
        """End the work and close the backend."""
        if self._work is not None:
            assert not self._work.done(), "run() must never end"
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work
        await self.backend.close()


@pytest.fixture
async def far(variant: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OnStage]:
    """Its far side, with nothing there yet."""
    stage = Stage(tmp_path, request.getfixturevalue, f"contract-{uuid.uuid4().hex[:10]}")
    made = OnStage(VARIANTS[variant](stage))
    yield made
    await made.end()


async def _proven(far: OnStage, asked: SigningRequest, roots: TrustBundle | None = None) -> VerifiedChain:
    issued, info = await far.backend.sign(asked), await far.backend.issuer()
    return _judged(far, issued, asked, roots or TrustBundle.of(info.roots))


def _judged(far: OnStage, issued: IssuedChain, asked: SigningRequest, bundle: TrustBundle) -> VerifiedChain:
    return ChainVerifier().verify(issued, asked, bundle, far.clock.now())


def _is_good(far: OnStage, issued: IssuedChain, asked: SigningRequest, bundle: TrustBundle) -> bool:
    try:
        _judged(far, issued, asked, bundle)
    except ChainRejected:
        return False
    return True


def test_every_built_in_backend_has_a_far_side() -> None:
    assert set(FAR_SIDES) == set(backends.BUILT_IN)


async def test_what_it_signs_passes_verification_and_is_laid_out_for_proxies(far: OnStage) -> None:
    await far.prepare()
    proven = await _proven(far, asked_at(far.clock))
    chain = layout(proven, proven.bundle)
    assert len(chain) >= 2
    assert all(element.endswith("-----END CERTIFICATE-----\n") for element in chain)


async def test_it_signs_for_a_server_too(far: OnStage) -> None:
    await far.prepare()
    await _proven(far, server_asked_at(far.clock, ServerNames(dns=("istio-signer.istio-system.svc",))))


async def test_a_wish_past_the_issuers_end_never_outlives_it(far: OnStage) -> None:
    await far.prepare()
    await _proven(far, asked_at(far.clock))
    end = (await far.backend.issuer()).window
    if end is None:
        pytest.skip("NOT TESTED: this backend does not know its issuer's end; verify catches what outlives it")
    asked = asked_at(far.clock)
    late = replace(asked, validity=replace(asked.validity, not_after=end[1] + timedelta(days=1)))
    bundle = TrustBundle.of((await far.backend.issuer()).roots)
    try:
        chain = _judged(far, await far.backend.sign(late), late, bundle)
    except (BackendRefused, ChainRejected):
        return
    assert chain.leaf.not_valid_after_utc <= end[1]


async def test_serial_numbers_are_not_repeated_and_requests_do_not_mix(far: OnStage) -> None:
    await far.prepare()
    asked = [asked_at(far.clock) for _ in range(8)]
    chains = await asyncio.gather(*(_proven(far, each) for each in asked))
    assert len({chain.leaf.serial_number for chain in chains}) == 8


async def test_without_a_far_side_everything_is_unavailable_and_says_why(far: OnStage) -> None:
    await far.take_away()
    for call in (far.backend.sign(asked_at(far.clock)), far.backend.issuer(), far.backend.probe()):
        with pytest.raises(BackendUnavailable) as caught:
            await call
        assert caught.value.reason


async def test_it_heals_without_a_restart(far: OnStage) -> None:
    await far.take_away()
    with pytest.raises(BackendError):
        await far.backend.sign(asked_at(far.clock))
    await far.far.mend()
    await _proven(far, asked_at(far.clock))
    await far.backend.probe()


async def test_another_issuer_under_the_same_root_needs_nothing_new_of_proxies(far: OnStage) -> None:
    await far.prepare()
    await _proven(far, asked_at(far.clock))
    before = TrustBundle.of((await far.backend.issuer()).roots)
    await far.far.change_issuer()
    await _proven(far, asked_at(far.clock), before)


async def test_another_root_is_told_and_caught_where_it_is_not_trusted_yet(far: OnStage) -> None:
    await far.prepare()
    await _proven(far, asked_at(far.clock))
    before = TrustBundle.of((await far.backend.issuer()).roots)
    told: list[str] = []
    if isinstance(far.backend, AnnouncesChange):
        far.backend.on_change(lambda: told.append("changed"))
    await far.far.change_root()
    with pytest.raises(ChainRejected):
        await _proven(far, asked_at(far.clock), before)
    await _proven(far, asked_at(far.clock))
    assert told or not isinstance(far.backend, AnnouncesChange)


async def test_a_decision_against_a_request_is_a_refusal(far: OnStage, variant: str) -> None:
    if variant in AT_ONCE:
        pytest.skip("NOT TESTED: signs from memory, there is nobody to decide against it")
    await far.prepare()
    await far.far.refuse()
    with pytest.raises(BackendRefused) as caught:
        await far.backend.sign(asked_at(far.clock))
    assert caught.value.reason


async def test_silence_is_a_time_out(far: OnStage, variant: str) -> None:
    if variant in AT_ONCE:
        pytest.skip("NOT TESTED: signs from memory, there is nobody to wait for")
    await far.prepare()
    await far.far.stall()
    with pytest.raises(BackendTimeout):
        await far.backend.sign(asked_at(far.clock))


async def test_a_cancelled_request_ends_at_once_and_its_retry_succeeds_with_one_object(far: OnStage) -> None:
    await far.prepare()
    before = await far.far.left()
    asked = asked_at(far.clock)
    first = asyncio.create_task(far.backend.sign(asked))
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(0.5):
        await asyncio.gather(first, return_exceptions=True)
    await _proven(far, asked)
    assert await far.far.left() <= before + 1


async def test_tampered_answers_are_caught(far: OnStage) -> None:
    await far.prepare()
    asked = asked_at(far.clock)
    issued, info = await far.backend.sign(asked), await far.backend.issuer()
    bundle = TrustBundle.of(info.roots)
    _judged(far, issued, asked, bundle)
    verdicts = {
        kind: _is_good(far, *tamper(issued, asked, far.clock.now()), bundle) for kind, tamper in TAMPERED.items()
    }
    assert [kind for kind, good in verdicts.items() if good] == []


async def test_once_closed_it_signs_no_more_and_leaves_nothing(far: OnStage) -> None:
    await far.prepare()
    await _proven(far, asked_at(far.clock))
    await far.backend.close()
    with pytest.raises(BackendUnavailable):
        await far.backend.sign(asked_at(far.clock))
    assert await far.far.left() == 0
