"""Which objects are deleted together, and when."""

from backends.kube_requests.batches import OPEN_SECONDS, SIZE, Batches

ADOPTABLE = 20.0


def batches() -> Batches:
    """None yet."""
    return Batches(ADOPTABLE)


def test_a_batch_is_due_once_it_is_closed_and_all_of_it_is_done() -> None:
    some = batches()
    label = some.join("a", 0.0)
    assert some.join("b", 0.1) == label
    some.done("a")
    assert some.due(OPEN_SECONDS) == [], "not all of it is done"
    some.done("b")
    assert some.due(OPEN_SECONDS) == [label]


def test_an_open_batch_is_not_due() -> None:
    some = batches()
    some.join("a", 0.0)
    some.done("a")
    assert some.due(OPEN_SECONDS - 0.1) == []


def test_it_closes_by_count() -> None:
    some = batches()
    labels = {some.join(str(number), 0.0) for number in range(SIZE + 1)}
    assert len(labels) == 2
    for number in range(SIZE):
        some.done(str(number))
    assert len(some.due(0.0)) == 1


def test_what_was_given_up_waits_for_whoever_may_adopt_it() -> None:
    some = batches()
    label = some.join("a", 0.0)
    some.give_up("a", 5.0)
    assert some.due(5.0 + ADOPTABLE - 0.1) == []
    assert some.due(5.0 + ADOPTABLE) == [label]


def test_what_is_wanted_again_is_not_deleted_under_the_hands_of_who_waits() -> None:
    some = batches()
    some.join("a", 0.0)
    some.give_up("a", 5.0)
    some.wanted_again("a")
    assert some.due(5.0 + 10 * ADOPTABLE) == []


def test_a_retry_stays_in_the_batch_that_its_object_carries() -> None:
    some = batches()
    label = some.join("a", 0.0)
    some.give_up("a", 0.0)
    some.due(OPEN_SECONDS)
    assert some.join("a", OPEN_SECONDS + 1) == label
    some.done("a")
    assert some.due(OPEN_SECONDS + 1) == [label]


def test_forgotten_batches_cost_nothing() -> None:
    some = batches()
    label = some.join("a", 0.0)
    some.done("a")
    some.forget(label)
    assert (some.due(1000.0), some.all_labels(), "a" in some) == ([], [], False)


def test_two_processes_never_share_a_label() -> None:
    assert batches().join("a", 0.0) != batches().join("a", 0.0)
