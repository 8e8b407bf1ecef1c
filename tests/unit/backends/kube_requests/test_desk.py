"""Who waits at the desk, for how long, and whose trouble it is where nobody decides."""

import asyncio

import pytest

from backends.kube_requests.desk import Desk
from backends.kube_requests.silence import FEW
from signer.core.allowance import allowing
from signer.core.errors import BackendTimeout, BackendUnavailable, Undecided
from signer.kube.answer import Answer, ApiUnavailable
from tests.support.waiting import give_up, settle, until
from tests.unit.backends.kube_requests.fake_api import NAME, FakeApi, FakeWatch, desk, signed, stored, wanted


def restarts(at: Desk) -> int:
    """How often its watch was opened again."""
    assert isinstance(at.watch, FakeWatch)
    return at.watch.restarts


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


async def test_a_dead_watch_costs_half_the_time_and_is_opened_again() -> None:
    """Its connection may be cut without a word; objects are made and signed all the same."""
    api = FakeApi()
    at = desk(api)
    signing = asyncio.create_task(at.settle(NAME, wanted(), 0.2))
    await until(lambda: bool(api.approved))
    assert api.item is not None
    api.item = signed(api.item)
    assert (await signing).certificate == "signed"
    assert api.calls.count(f"GET {NAME}") == 1
    assert restarts(at) == 1


async def test_what_is_gone_unnoticed_is_told() -> None:
    api = FakeApi()
    at = desk(api)
    signing = asyncio.create_task(at.settle(NAME, wanted(), 0.2))
    await until(lambda: bool(api.approved))
    api.item = None
    with pytest.raises(BackendUnavailable, match="somebody has deleted"):
        await signing
    assert restarts(at) == 1


@pytest.mark.parametrize("answer", [Answer(500, {}), ApiUnavailable("no connection"), None], ids=["500", "no", "same"])
async def test_a_look_that_shows_nothing_new_changes_nothing(answer: Answer | ApiUnavailable | None) -> None:
    api = FakeApi()
    api.plan[f"GET {NAME}"] = [answer] if answer else []
    at = desk(api)
    with pytest.raises(Undecided):
        await at.settle(NAME, wanted(), 0.1)
    assert (api.calls.count(f"GET {NAME}"), restarts(at)) == (1, 0)


async def test_another_object_under_the_name_decides_nothing() -> None:
    api = FakeApi()
    at = desk(api)
    signing = asyncio.create_task(at.settle(NAME, wanted(), 0.2))
    await until(lambda: bool(api.approved))
    api.item = signed(stored("another"))
    with pytest.raises(BackendUnavailable, match="somebody has deleted"):
        await signing


async def test_who_is_decided_on_has_all_places_again() -> None:
    api = FakeApi()
    at = desk(api)
    with pytest.raises(Undecided):
        await at.settle(NAME, wanted(), 0.02, "api")
    assert api.item is not None
    api.item = signed(api.item)
    await at.settle(NAME, wanted(), 1.0, "api")
    api.item = None
    waiting = [asyncio.create_task(at.settle(f"{NAME}{n}", wanted(), 5.0, "api")) for n in range(FEW + 2)]
    await settle()
    assert not any(task.done() and isinstance(task.exception(), Undecided) for task in waiting)
    await give_up(*waiting)
