"""The definition of a backend: whatever signs, the pipeline may rely on this."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import backends
from signer.core.chain import TrustBundle, VerifiedChain, layout
from signer.core.errors import BackendError, BackendUnavailable, ChainRejected
from signer.core.ports import AnnouncesChange
from signer.core.types import ServerNames, SigningRequest
from signer.core.verify import ChainVerifier
from tests.contract.far_sides import FAR_SIDES, FarSide
from tests.corpus.answers import asked, server_asked
from tests.support.clock import FakeClock


@pytest.fixture(params=sorted(FAR_SIDES))
def far(request: pytest.FixtureRequest, tmp_path: Path) -> FarSide:
    """Each backend in turn."""
    return FAR_SIDES[request.param](tmp_path, FakeClock())


async def _proven(far: FarSide, request: SigningRequest, roots: TrustBundle | None = None) -> VerifiedChain:
    issued, info = await far.backend.sign(request), await far.backend.issuer()
    bundle = roots or TrustBundle.of(info.roots)
    return ChainVerifier().verify(issued, request, bundle, FakeClock().now())


def test_every_built_in_backend_has_a_far_side() -> None:
    assert set(FAR_SIDES) == set(backends.BUILT_IN)


async def test_what_it_signs_passes_verification_and_is_laid_out_for_proxies(far: FarSide) -> None:
    await far.prepare()
    chain = layout(await _proven(far, asked()))
    assert len(chain) >= 2
    assert all(element.endswith("-----END CERTIFICATE-----\n") for element in chain)


async def test_it_signs_for_a_server_too(far: FarSide) -> None:
    await far.prepare()
    await _proven(far, server_asked(ServerNames(dns=("istio-signer.istio-system.svc",))))


async def test_a_wish_past_the_issuers_end_is_shortened(far: FarSide) -> None:
    await far.prepare()
    info = await far.backend.issuer()
    if info.window is None:
        pytest.skip("this backend does not know its issuer's end; verify catches what outlives it")
    late = replace(asked().validity, not_after=info.window[1] + timedelta(days=1))
    issued = await far.backend.sign(replace(asked(), validity=late))
    assert issued.leaf.not_valid_after_utc <= info.window[1]


async def test_serial_numbers_are_not_repeated(far: FarSide) -> None:
    await far.prepare()
    serials = {(await far.backend.sign(asked())).leaf.serial_number for _ in range(20)}
    assert len(serials) == 20


async def test_without_a_ca_everything_is_unavailable_and_says_why(far: FarSide) -> None:
    await far.take_away()
    for call in (far.backend.sign(asked()), far.backend.issuer(), far.backend.probe()):
        with pytest.raises(BackendUnavailable) as caught:
            await call
        assert caught.value.reason


async def test_it_heals_without_a_restart(far: FarSide) -> None:
    await far.take_away()
    with pytest.raises(BackendError):
        await far.backend.sign(asked())
    await far.change_issuer()
    await _proven(far, asked())
    await far.backend.probe()


async def test_another_issuer_under_the_same_root_needs_nothing_new_of_proxies(far: FarSide) -> None:
    await far.prepare()
    before = TrustBundle.of((await far.backend.issuer()).roots)
    await far.change_issuer()
    await _proven(far, asked(), before)


async def test_another_root_is_told_and_caught_where_it_is_not_trusted_yet(far: FarSide) -> None:
    await far.prepare()
    before = TrustBundle.of((await far.backend.issuer()).roots)
    await far.change_root()
    with pytest.raises(ChainRejected):
        await _proven(far, asked(), before)
    await _proven(far, asked())


async def test_a_backend_that_announces_changes_announces_each(far: FarSide) -> None:
    await far.prepare()
    if not isinstance(far.backend, AnnouncesChange):
        pytest.skip("this backend does not announce changes; it is asked at intervals")
    told: list[str] = []
    far.backend.on_change(lambda: told.append("changed"))
    await far.change_issuer()
    await far.change_root()
    assert len(told) == 2


async def test_once_closed_it_signs_no_more(far: FarSide) -> None:
    await far.prepare()
    await far.backend.close()
    with pytest.raises(BackendUnavailable):
        await far.backend.sign(asked())
