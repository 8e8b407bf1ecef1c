"""A table in the making: nobody sees it before it is whole, and what has not changed is kept once."""

import pytest

from signer.kube.places import Places
from signer.kube.pod_facts import Pod, pod_of
from signer.kube.table import Successor, Table
from tests.unit.kube.test_collection import PLACE, manifest


def _old(*uids: str) -> Places:
    table = Places()
    for number, uid in enumerate(uids):
        table.put(pod_of(manifest(f"cart-{number}", uid)))
    return table


def test_it_takes_the_place_only_when_it_is_whole() -> None:
    """And has an index of its own."""
    told: list[Table[Pod]] = []
    old, new = _old("uid-0"), Places()
    made = Successor(old, new, pod_of, told.append)
    made.add([manifest("till-0", "uid-1", spec={"serviceAccountName": "till"})])
    made.add([])
    assert (told, len(old), old.has(PLACE, 0.0)) == ([], 1, True)
    made.done()
    assert (told, len(new), new.has(PLACE, 0.0)) == ([new], 1, False)


def test_what_has_not_changed_is_kept_once() -> None:
    """What has is not."""
    old, new = _old("uid-0", "uid-1"), Places()
    made = Successor(old, new, pod_of, lambda _: None)
    made.add([manifest("cart-0", "uid-0"), manifest("cart-1", "uid-1", phase="Failed")])
    assert new.get("shop", "cart-0") is old.get("shop", "cart-0")
    changed = new.get("shop", "cart-1")
    assert changed is not None
    assert changed.finished


def test_what_is_no_pod_is_told() -> None:
    """Whoever lists tries again."""
    made = Successor(Places(), Places(), pod_of, lambda _: None)
    with pytest.raises(KeyError):
        made.add([{"metadata": {}}])


def test_an_object_that_is_not_there_is_removed_without_a_word() -> None:
    """As a watch may tell of one that was never listed."""
    table = _old("uid-0")
    table.remove("shop", "cart-9")
    table.remove("elsewhere", "cart-0")
    assert len(table) == 1
    table.remove("shop", "cart-0")
    assert (len(table), table.has(PLACE, 0.0)) == (0, False)
