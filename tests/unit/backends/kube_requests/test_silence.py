"""Whose requests nobody decides on, and whose trouble that is."""

import pytest

from backends.kube_requests import silence
from backends.kube_requests.silence import FEW, MIN_ASKERS, SILENT_SECONDS, Silence
from signer.core.errors import BackendTimeout, Undecided

LATE = SILENT_SECONDS + 1


def kind(some: Silence, asker: str, now: float) -> type[BackendTimeout]:
    """What one more undecided request is told as."""
    return type(some.undecided(asker, "nobody has decided", now))


def test_one_asker_says_nothing_of_the_backend_however_often_it_asks() -> None:
    some = Silence()
    assert {kind(some, "mallory", float(now)) for now in range(1000)} == {Undecided}


def test_many_askers_over_some_time_do() -> None:
    some = Silence()
    assert {kind(some, str(number), 0.0) for number in range(100)} == {Undecided}, "one bad moment"
    told = some.undecided("0", "nobody has decided", LATE)
    assert type(told) is BackendTimeout
    assert "nothing at all was decided for 31 s" in told.reason


def test_one_decision_is_a_sign_of_life() -> None:
    some = Silence()
    for number in range(MIN_ASKERS):
        kind(some, str(number), 0.0)
    some.decided("good")
    assert kind(some, "0", LATE) is Undecided
    assert kind(some, "1", LATE + 1) is Undecided


def test_who_was_left_undecided_gets_few_places_until_it_is_decided_on() -> None:
    some = Silence()
    for _ in range(FEW + 3):
        some.enter("mallory")
    kind(some, "mallory", 0.0)
    with pytest.raises(Undecided, match="4 requests of mallory wait already"):
        some.enter("mallory")
    for _ in range(100):
        some.enter("good")
    for _ in range(4):
        some.leave("mallory")
    some.enter("mallory")
    with pytest.raises(Undecided):
        some.enter("mallory")
    some.decided("mallory")
    some.enter("mallory")


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "MAX_REMEMBERED", 10)
    some = Silence()
    for number in range(100):
        some.enter(str(number))
        kind(some, str(number), 0.0)
        some.leave(str(number))
    assert (len(some._left), len(some._pending), len(some._askers)) == (10, 0, MIN_ASKERS)
