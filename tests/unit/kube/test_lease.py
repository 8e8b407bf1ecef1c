"""Who leads from when to when, over an API server in memory. The real one: tests/kube_lease."""

import asyncio

import pytest

from signer.kube.lease import LeaseSettings
from tests.unit.kube.fake_leases import dead, fine
from tests.unit.kube.lease_scene import Scene, play


def test_the_first_makes_the_lease_and_renews_it_with_one_call() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader()
        assert (first.line.asked, first.elector.term, first.elector.holder) == (["GET", "POST"], 0, "a")
        assert at.leases.item is not None
        assert at.leases.item["kind"] == "Lease"
        assert at.leases.item["metadata"]["name"] == "istio-signer"
        await asyncio.sleep(60.0)
        assert set(first.line.asked[2:]) == {"PUT"}
        assert 12 <= len(first.line.asked[2:]) <= 15
        assert [leads for _, leads in first.told] == [True]

    play(story)


def test_a_killed_leader_is_followed_after_the_duration() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        second = at.member("b").start()
        await asyncio.sleep(33.0)
        assert (second.elector.leads, second.elector.holder) == (False, "a")
        await first.kill()
        assert not first.elector.leads, "nobody renews it any more"
        killed, renewed = at.now, first.line.moments[-1]
        led = await second.leads()
        assert renewed + 15.0 <= led <= killed + 15.0 + 2.0 + 1.0
        assert (second.elector.term, second.elector.holder) == (1, "b")

    play(story)


def test_a_released_lease_is_taken_at_once() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        second = at.member("b").start()
        await asyncio.sleep(3.0)
        await first.elector.close()
        assert not first.elector.leads
        assert (at.leases.spec["holderIdentity"], at.leases.spec["leaseDurationSeconds"]) == ("", 1)
        released = at.now
        assert await second.leads() - released <= 4.0
        await asyncio.sleep(60.0)
        assert (first.elector.leads, second.elector.leads) == (False, True), "who has closed stands no more"

    play(story)


def test_of_two_that_find_it_expired_one_wins_and_the_other_follows() -> None:
    async def story(at: Scene) -> None:
        await (await at.leader("a")).kill()
        hands = [at.member("b").start(), at.member("c").start()]
        met = asyncio.Barrier(2)

        async def together(method: str) -> None:
            if method == "PUT":
                await met.wait()

        for member in hands:
            member.line.before = together
        await at.until(lambda: any(member.elector.leads for member in hands))
        for member in hands:
            member.line.before = fine
        await asyncio.sleep(1.0)
        assert sorted(member.elector.leads for member in hands) == [False, True]
        (winner,) = [member for member in hands if member.elector.leads]
        assert {member.elector.holder for member in hands} == {at.leases.spec["holderIdentity"]}
        assert winner.elector.term == 1

    play(story)


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")

        async def slow(method: str) -> None:
            await asyncio.sleep(4.0 if method == "POST" else 0.0)

        first.line.after = slow
        first.start()
        answered = await first.leads()
        first.line.before = dead
        await asyncio.sleep(20.0)
        lost, _ = first.told[1]
        assert lost - answered <= 10.0 - 4.0 + 1.0

    play(story)


THIEVES = {
    "another took it": {"holderIdentity": "thief"},
    "somebody released it": {"holderIdentity": "", "leaseDurationSeconds": 1},
}


@pytest.mark.parametrize("change", THIEVES.values(), ids=THIEVES)
def test_a_renewal_that_finds_another_holder_drops_the_lead_at_once(change: dict[str, object]) -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        item = at.leases.item
        assert item is not None
        at.leases.store({**item, "spec": {**item["spec"], **change, "leaseTransitions": 4}})
        calls = len(first.line.asked)
        await at.until(lambda: len(first.told) >= 2)
        assert first.line.asked[calls : calls + 2] == ["PUT", "GET"]
        assert first.told[1][0] - first.line.moments[calls] < 0.1
        await first.leads()
        assert first.elector.term == 5, "a term of its own"

    play(story)


def test_a_touched_label_is_no_loss_and_stays() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        assert at.leases.item is not None
        at.leases.store({**at.leases.item, "metadata": {**at.leases.item["metadata"], "labels": {"by": "hand"}}})
        await asyncio.sleep(30.0)
        assert [leads for _, leads in first.told] == [True]
        assert at.leases.item["metadata"]["labels"] == {"by": "hand"}

    play(story)


def test_a_deleted_lease_is_made_again_by_its_leader_and_no_other() -> None:
    async def story(at: Scene) -> None:
        first = await at.leader("a")
        second = at.member("b").start()
        await asyncio.sleep(11.0)
        at.leases.item = None
        await asyncio.sleep(20.0)
        assert (first.elector.leads, second.elector.leads) == (True, False)
        assert "POST" not in second.line.asked
        assert at.leases.spec["holderIdentity"] == "a"

    play(story)


def test_who_never_led_releases_nothing() -> None:
    async def story(at: Scene) -> None:
        await at.leader("a")
        second = at.member("b").start()
        await asyncio.sleep(3.0)
        asked = len(second.line.asked)
        await second.elector.close()
        assert second.line.asked[asked:] == []
        assert at.leases.spec["holderIdentity"] == "a"

    play(story)


def test_a_claim_under_way_at_close_is_released_too() -> None:
    async def story(at: Scene) -> None:
        first = at.member("a")

        async def slow(method: str) -> None:
            await asyncio.sleep(1.0 if method == "POST" else 0.0)

        first.line.before = slow
        first.start()
        await asyncio.sleep(0.5)
        assert first.line.asked[-1] == "POST"
        await first.elector.close()
        assert at.leases.spec["holderIdentity"] == ""
        assert first.told == []

    play(story)


@pytest.mark.parametrize(
    "wrong",
    [{"identity": ""}, {"duration": 0.5}, {"retry": 0.0}, {"renew": 10.0}, {"renew": 0.0}, {"duration": 7.0}],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="lease"):
        LeaseSettings(**{"namespace": "n", "identity": "a", **wrong})  # type: ignore[arg-type]
