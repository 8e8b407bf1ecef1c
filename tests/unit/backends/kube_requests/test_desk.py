"""Who waits at the desk, for how long, and whose trouble it is where nobody decides."""

import asyncio

import pytest

from backends.kube_requests.silence import FEW
from signer.core.allowance import allowing
from signer.core.errors import BackendTimeout, Undecided
from tests.support.waiting import settle
from tests.unit.backends.kube_requests.fake_api import NAME, FakeApi, desk, wanted


async def test_nobody_has_decided_on_this_one() -> None:
    with pytest.raises(
        Undecided,
        match=r"nobody has decided on certificatesigningrequests.* within 0\.05 s: nobody has approved it yet",
    ):
        await desk(FakeApi()).settle(NAME, wanted(), 0.05)


async def test_it_is_late_before_the_attempt_is_cut_off() -> None:
    """Or a short deadline would make one request's trouble the backend's."""
    with allowing(0.1), pytest.raises(Undecided):
        async with asyncio.timeout(0.1):
            await desk(FakeApi()).settle(NAME, wanted(), 60.0)


async def test_an_api_server_that_hangs_is_not_undecided() -> None:
    api = FakeApi()

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    api.call = hang  # type: ignore[assignment, method-assign]
    with pytest.raises(BackendTimeout, match=r"has not taken .* within 0\.05 s") as caught:
        await desk(api).settle(NAME, wanted(), 0.05)
    assert type(caught.value) is BackendTimeout


async def test_an_asker_of_what_nobody_decides_cannot_take_all_places() -> None:
    at = desk(FakeApi())
    with pytest.raises(Undecided):
        await at.settle(NAME, wanted(), 0.02, "mallory")
    waiting = [asyncio.create_task(at.settle(f"{NAME}{n}", wanted(), 5.0, "mallory")) for n in range(FEW + 10)]
    await settle()
    refused = [task for task in waiting if task.done()]
    assert (len(refused), {type(task.exception()) for task in refused}) == (10, {Undecided})
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
