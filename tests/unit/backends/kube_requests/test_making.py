"""What is taken over and approved: nothing that somebody else has made."""

import asyncio
import time
from typing import Any

import pytest

from backends.kube_requests import calls
from backends.kube_requests.batches import Batches
from signer.core.errors import BackendTimeout, BackendUnavailable
from signer.kube.answer import Answer, ApiUnavailable
from tests.support.waiting import settle
from tests.unit.backends.kube_requests.fake_api import MALLORY, NAME, FakeApi, desk, signed, stored, wanted

CONFLICT = Answer(409, {"reason": "Conflict"})


def approvals(api: FakeApi) -> list[str]:
    """The UIDs of what was approved."""
    return [item["metadata"]["uid"] for item in api.approved]


async def settled(api: FakeApi) -> Any:
    """Have one request decided; nobody decides on it."""
    with pytest.raises(BackendTimeout):
        await desk(api).settle(NAME, wanted(), 0.3)


STRANGERS: dict[str, dict[str, Any]] = {
    "another account's": stored(user=MALLORY),
    "for 68 years": stored(expirationSeconds=2**31 - 1),
    "for a minute more": stored(expirationSeconds=3660),
    "for as long as the signer likes": stored(expirationSeconds=None),
    "another account's, for years": stored(user=MALLORY, expirationSeconds=2**31 - 1),
    "another question": stored(request="RVZJTA=="),
}


@pytest.mark.parametrize("case", STRANGERS)
async def test_a_strangers_object_with_our_labels_is_neither_adopted_nor_approved(case: str) -> None:
    """The owner of a CSR can tell the name beforehand, and anybody can write labels."""
    api = FakeApi(STRANGERS[case])
    await settled(api)
    assert "first" not in approvals(api), "the stranger's"
    assert approvals(api) == [f"made {api.made}"]


@pytest.mark.parametrize("seconds", [600, 3599, 3600, 3630])
async def test_our_own_first_try_is_adopted(seconds: int) -> None:
    """By a process that has made nothing yet: it asks who it is, and stores nothing for that."""
    api = FakeApi(stored(expirationSeconds=seconds))
    await settled(api)
    assert approvals(api) == ["first"]
    assert "POST dry" in api.calls


async def test_without_an_answer_to_who_we_are_nothing_is_adopted() -> None:
    api = FakeApi(stored())
    api.plan["POST dry"] = [Answer(400, {"message": "a webhook does not support dry run"})]
    await settled(api)
    assert approvals(api) == ["made 1"]


async def test_after_a_conflict_another_object_is_not_approved() -> None:
    api = FakeApi()
    api.plan["PUT approval"] = [CONFLICT]
    foreign = stored("stranger", MALLORY, request="RVZJTA==", signerName="kubernetes.io/kube-apiserver-client")
    api.plan[f"GET {NAME}"] = [Answer(200, foreign)]
    with pytest.raises(BackendUnavailable, match="has taken its place"):
        await desk(api).settle(NAME, wanted(), 0.3)
    assert approvals(api) == []


@pytest.mark.parametrize(
    "taken", [stored("another"), stored("made 1", request="RVZJTA=="), {}], ids=["uid", "contents", "nothing"]
)
async def test_after_a_conflict_both_uid_and_contents_count(taken: Any) -> None:
    api = FakeApi()
    api.plan["PUT approval"] = [CONFLICT]
    api.plan[f"GET {NAME}"] = [Answer(200, taken)]
    with pytest.raises(BackendUnavailable):
        await desk(api).settle(NAME, wanted(), 0.3)
    assert approvals(api) == []


async def test_after_a_conflict_our_own_object_is_approved() -> None:
    api = FakeApi()
    api.plan["PUT approval"] = [CONFLICT]
    await settled(api)
    assert approvals(api) == ["made 1"]


async def test_after_a_conflict_what_somebody_has_decided_stays() -> None:
    api = FakeApi()
    api.plan["PUT approval"] = [CONFLICT]
    api.plan[f"GET {NAME}"] = [Answer(200, signed(stored("made 1")))]
    await settled(api)
    assert approvals(api) == []


async def test_a_second_askers_failure_leaves_the_firsts_object_alone() -> None:
    """Or its batch would be deleted under the hands of who still waits."""
    api, batches = FakeApi(), Batches(20)
    at = desk(api, batches=batches)
    first = asyncio.create_task(at.settle(NAME, wanted(), 5.0))
    await settle()
    assert api.approved
    api.plan["POST certificatesigningrequests"] = [Answer(403, {"reason": "Forbidden"})]
    with pytest.raises(BackendUnavailable, match="403"):
        await at.settle(NAME, wanted(), 1.0)
    assert batches.due(time.monotonic() + 4.0) == []
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_failure_of_the_only_asker_gives_the_object_up() -> None:
    api, batches = FakeApi(), Batches(20)
    api.plan["POST certificatesigningrequests"] = [Answer(403, {"reason": "Forbidden"})]
    with pytest.raises(BackendUnavailable, match="403"):
        await desk(api, batches=batches).settle(NAME, wanted(), 1.0)
    assert len(batches.due(time.monotonic() + 4.0)) == 1


BUSY: dict[str, Answer | ApiUnavailable] = {
    "answer": Answer(429, {}, retry_after=1.0),
    "error": ApiUnavailable("HTTP 503", retry_after=1.0),
}


@pytest.mark.parametrize("told", BUSY)
async def test_a_server_that_wants_to_be_spared_is(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    api = FakeApi()
    api.plan["POST certificatesigningrequests"] = [BUSY[told]]
    monkeypatch.setattr(calls, "asyncio", type("Loop", (), {"sleep": staticmethod(sleep)}))
    await settled(api)
    assert len(pauses) == 1
    assert pauses[0] >= 1.0


async def test_one_that_wants_a_long_rest_is_told_as_unavailable_at_once() -> None:
    api = FakeApi()
    api.plan["POST certificatesigningrequests"] = [Answer(429, {}, retry_after=60.0)]
    with pytest.raises(BackendUnavailable, match="HTTP 429"):
        await desk(api).settle(NAME, wanted(), 5.0)
    assert api.calls == ["POST certificatesigningrequests"]
