"""What an API server and the way to it can do to an elector, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.lease_pace import SLOW_SECONDS
from tests.unit.kube.fake_leases import cut, dead, fine
from tests.unit.kube.lease_scene import Scene, play

FORBIDDEN = Answer(403, {"reason": "Forbidden", "message": 'leases "istio-signer" is forbidden'})


@pytest.mark.parametrize("fault", [dead, cut], ids=["no answer", "no connection"])
def test_an_unreachable_server_costs_the_lead_by_the_clock_and_no_earlier(
    fault: Callable[[str], Awaitable[None]],
) -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        await asyncio.sleep(12.0)
        last = first.line.moments[-1]
        first.line.before = fault
        await asyncio.sleep(30.0)
        (_, gained), (lost, second) = first.told
        assert (gained, second) == (True, False)
        assert last + 10.0 <= lost <= last + 11.0
        tries = [moment for moment in first.line.moments if last < moment < last + 10.0]
        assert len(tries) >= 3, "one dead connection must not cost the lead"
        assert first.elector.fault
        first.line.before = fine
        await first.leads()
        assert (first.elector.term, first.elector.fault) == (0, ""), "nobody else has had it"

    play(story)


def test_a_short_outage_costs_nothing() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        await asyncio.sleep(4.9)
        first.line.before = cut
        await asyncio.sleep(4.0)
        first.line.before = fine
        await asyncio.sleep(30.0)
        assert [leads for _, leads in first.told] == [True]

    play(story)


def test_outages_are_met_with_jittered_tries_for_ever() -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")
        first.line.before = cut
        first.start()
        await asyncio.sleep(600.0)
        gaps = [later - earlier for earlier, later in zip(first.line.moments, first.line.moments[1:], strict=False)]
        assert min(gaps) >= 1.0
        assert max(gaps) <= 5.0
        assert len({round(gap, 6) for gap in gaps}) > len(gaps) / 2

    play(story)


def test_an_answer_that_was_lost_is_found_to_have_been_done() -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")
        first.line.after = cut
        first.start()
        await asyncio.sleep(0.1)
        assert not first.elector.leads, "nobody has said so"
        first.line.after = fine
        await first.leads()
        assert (first.elector.term, at.leases.spec["leaseTransitions"]) == (0, 0)

    play(story)


def test_missing_rights_are_told_once_with_what_to_grant(caplog: pytest.LogCaptureFixture) -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")
        first.line.refusal = FORBIDDEN
        first.start()
        await asyncio.sleep(600.0)
        (record,) = [record for record in caplog.records if "tried again" in record.getMessage()]
        assert "get, create and update on leases" in record.getMessage()
        assert "istio-system" in record.getMessage()
        assert record.getMessage().endswith(f"{first.elector.fault}; it is tried again".removeprefix("lease "))
        late = [moment for moment in first.line.moments if moment > 1100.0]
        assert len(late) <= 500 / (SLOW_SECONDS / 2) + 1
        first.line.refusal = None
        await first.leads()

    play(story)


def test_rights_that_are_missing_for_a_moment_cost_a_leader_nothing() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        await asyncio.sleep(4.9)
        first.line.refusal = FORBIDDEN
        await asyncio.sleep(3.0)
        first.line.refusal = None
        await asyncio.sleep(30.0)
        assert [leads for _, leads in first.told] == [True]

    play(story)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(200, {}), "not a Lease"),
        (Answer(200, {"metadata": {"resourceVersion": "1"}, "spec": 3}), "not a Lease"),
        (Answer(429, {"reason": "TooManyRequests"}, retry_after=20.0), "HTTP 429"),
        (Answer(404, {"reason": "NotFound"}), "is there a namespace istio-system"),
        (Answer(500, {}), "HTTP 500"),
    ],
)
def test_strange_answers_end_nothing(answer: Answer, told: str) -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")
        first.line.refusal = answer
        first.start()
        await asyncio.sleep(60.0)
        assert told in first.elector.fault
        assert not first.elector.leads
        gaps = [b - a for a, b in zip(first.line.moments, first.line.moments[1:], strict=False) if b > a]
        assert min(gaps) >= max(1.0, answer.retry_after)
        first.line.refusal = None
        await first.leads()

    play(story)


def test_an_answer_that_names_another_gives_no_lead() -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")

        real = at.leases.answer
        at.leases.answer = lambda method, body: _renamed(real(method, body))  # type: ignore[method-assign]
        first.start()
        await asyncio.sleep(5.0)
        assert not first.elector.leads

    play(story)


def _renamed(answer: Answer) -> Answer:
    if "spec" in answer.body:
        answer.body["spec"]["holderIdentity"] = "b"
    return answer


def test_an_unforeseen_fault_ends_nothing() -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")

        async def bug(method: str) -> None:
            raise ZeroDivisionError

        first.line.before = bug
        first.start()
        await asyncio.sleep(10.0)
        assert first.elector.fault.endswith("ZeroDivisionError")
        first.line.before = fine
        await first.leads()

    play(story)


def test_every_call_has_a_deadline() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        await asyncio.sleep(20.0)
        first.line.before = dead
        await asyncio.sleep(60.0)
        assert min(first.line.deadlines) > 0.0
        assert max(first.line.deadlines) <= 5.0

    play(story)


@pytest.mark.parametrize("fault", [dead, cut], ids=["no answer", "no connection"])
def test_closing_takes_two_seconds_at_most(fault: Callable[[str], Awaitable[None]]) -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        first.line.before = fault
        begun = at.now
        await first.elector.close()
        assert at.now - begun <= 2.01
        assert not first.elector.leads

    play(story)


def test_a_release_outlives_one_cut_connection() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        left = [1]

        async def once(method: str) -> None:
            if method == "PUT" and left:
                left.pop()
                raise ApiUnavailable("no connection: ServerDisconnectedError")

        first.line.before = once
        await first.kill()
        await first.elector.close()
        assert at.leases.spec["holderIdentity"] == ""

    play(story)
