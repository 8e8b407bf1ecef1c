"""Processes of their own that are frozen, killed and ended: at no moment do two of them lead."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.poll import until
from tests.kube_lease.processes import Look, Stander, overlaps

DURATION, RETRY = 3.0, 0.3
FIRST = 15.0
"""Seconds to lead at the start, on a busy machine."""


@pytest.fixture
def pair(tmp_path: Path, kubeconfig: Path, namespace: str) -> Iterator[tuple[Stander, Stander]]:
    """A leader, and one that follows it."""
    with ExitStack() as stack:
        leader = stack.enter_context(Stander(tmp_path, kubeconfig, namespace, "a"))
        leader.leads(FIRST)
        yield leader, stack.enter_context(Stander(tmp_path, kubeconfig, namespace, "b"))


def test_a_leader_that_was_frozen_wakes_as_none(pair: tuple[Stander, Stander]) -> None:
    frozen, follower = pair
    time.sleep(1.5)
    stopped = frozen.freeze()
    assert follower.leads(DURATION + RETRY + 1.0) > stopped
    time.sleep(0.5)
    woken = frozen.thaw()
    until(lambda: len(frozen.looks(woken)) > 300, deadline=10.0, what="it to look again")
    assert not frozen.led(woken), "not even for the first moment"
    assert follower.led(woken)
    assert overlaps(frozen.looks(), follower.looks()) == []


def test_a_leader_that_was_frozen_for_a_moment_goes_on(pair: tuple[Stander, Stander]) -> None:
    frozen, follower = pair
    time.sleep(1.5)
    frozen.freeze()
    time.sleep(1.0)
    woken = frozen.thaw()
    until(lambda: frozen.led(woken + 1.0), deadline=10.0, what="it to lead on")
    assert not follower.led()
    assert {look.term for look in frozen.led()} == {0}


def test_freezing_each_in_turn_never_has_two_lead(pair: tuple[Stander, Stander]) -> None:
    for one, other in (pair, pair[::-1], pair):
        one.freeze()
        other.leads(DURATION + RETRY + 1.0)
        one.thaw()
        time.sleep(0.5)
    first, second = pair
    assert overlaps(first.looks(), second.looks()) == []
    assert {look.term for look in first.led()} == {0, 2}
    assert {look.term for look in second.led()} == {1, 3}


def test_a_killed_process_is_followed_within_the_duration(pair: tuple[Stander, Stander]) -> None:
    leader, follower = pair
    time.sleep(1.0)
    killed = leader.kill()
    assert follower.leads(10.0) - killed <= DURATION + RETRY + 1.0
    assert overlaps(leader.looks(), follower.looks()) == []


def test_a_process_that_ends_hands_over_at_once(pair: tuple[Stander, Stander]) -> None:
    leader, follower = pair
    time.sleep(1.0)
    ended = leader.stop()
    assert follower.leads(10.0) - ended <= 2 * RETRY
    assert overlaps(leader.looks(), follower.looks()) == []


def test_what_tells_overlaps_tells_them() -> None:
    first = [Look(1.0, True, 0), Look(2.0, True, 0), Look(3.0, False, 0)]
    assert overlaps(first, [Look(1.5, True, 1)])
    assert overlaps([Look(1.5, True, 1)], first)
    assert not overlaps(first, [Look(1.5, False, 0), Look(2.5, True, 1)])
