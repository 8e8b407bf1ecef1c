"""A memory with a bound: the oldest goes first, and what is put in again is new."""

from signer.core.recent import Recent


def _memory() -> Recent[str, int]:
    memory: Recent[str, int] = Recent(2)
    memory.put("a", 1)
    memory.put("b", 2)
    return memory


def test_the_oldest_is_forgotten() -> None:
    memory = _memory()
    memory.put("c", 3)
    assert ([memory.get(key) for key in "abc"], len(memory)) == ([None, 2, 3], 2)


def test_what_is_put_in_again_is_new() -> None:
    memory = _memory()
    memory.put("a", 4)
    memory.put("c", 3)
    assert [memory.get(key) for key in "abc"] == [4, None, 3]


def test_a_look_changes_nothing() -> None:
    memory = _memory()
    assert (memory.get("a"), "a" in memory, "c" in memory) == (1, True, False)
    memory.put("c", 3)
    assert "a" not in memory


def test_forgetting() -> None:
    """Of what is not there, too."""
    memory = _memory()
    memory.forget("a")
    memory.forget("a")
    assert (memory.get("a"), len(memory)) == (None, 1)
    memory.clear()
    assert len(memory) == 0
