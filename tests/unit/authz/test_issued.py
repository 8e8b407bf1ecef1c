"""What serials were issued for."""

from signer.authz.issued import Issued, IssuedKeys

A, B, C = Issued("a", "key-a"), Issued("b", "key-b"), Issued("c", "key-c")


def test_a_denied_serial_names_its_key() -> None:
    """And no other key, nor the key of another serial."""
    known = IssuedKeys()
    known.remember(1, A)
    known.remember(2, B)
    assert [known.any_denied, known.deny([1]), known.any_denied] == [False, 0, True]
    assert known.denied_with("key-a") == [(1, A)]
    assert known.denied_with("key-b") == []
    assert known.deny([]) == 0
    assert known.denied_with("key-a") == []
    assert not known.any_denied


def test_unknown_serials_are_counted_until_they_are_issued() -> None:
    known = IssuedKeys()
    assert known.deny([1, 2]) == 2
    known.remember(1, A)
    assert known.denied_with("key-a") == [(1, A)]
    assert known.deny([1, 2]) == 1


def test_the_oldest_are_forgotten() -> None:
    """One that is handed out again is new."""
    known = IssuedKeys(2)
    known.remember(1, A)
    known.remember(2, B)
    known.remember(1, A)
    known.remember(3, C)
    assert known.deny([1, 2, 3]) == 1
    assert [bool(known.denied_with(each.key)) for each in (A, B, C)] == [True, False, True]


def test_denied_ones_are_not_forgotten() -> None:
    """However many come after it, and whatever else is denied."""
    known = IssuedKeys(1)
    known.remember(1, A)
    known.deny([1])
    for serial in range(2, 10):
        known.remember(serial, B)
    assert known.deny([1, 9]) == 0
    assert known.denied_with("key-a") == [(1, A)]


def test_several_serials_of_a_key() -> None:
    known = IssuedKeys()
    known.remember(1, A)
    known.remember(2, A)
    known.deny([1, 2])
    assert known.denied_with("key-a") == [(1, A), (2, A)]
