"""A memory with a bound: what was put in last is known, what has not been put in for longest is forgotten first."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Remembers the latest values by their keys.

    Args:
        size: How many at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[K, V] = OrderedDict()

    def put(self, key: K, value: V) -> None:
        """Remember it; one that is known already counts as new."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def get(self, key: K) -> V | None:
        """Give what is remembered; it grows no younger by that."""
        return self._kept.get(key)

    def forget(self, key: K) -> None:
        """Drop one, where it is there."""
        self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def __contains__(self, key: object) -> bool:
        """Whether it is remembered."""
        return key in self._kept

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._kept)
