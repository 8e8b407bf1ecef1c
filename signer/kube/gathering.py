"""Who follows a collection, and how a list of it is taken: page by page, or whole."""

from collections.abc import Callable
from typing import Protocol

from signer.kube.answer import Manifest


class Gathering(Protocol):
    """Takes a list page by page: whole objects of a large collection would fill the memory, and stall all else."""

    def add(self, items: list[Manifest]) -> None:
        """One page."""
        ...

    def done(self) -> None:
        """That was all: what has not been among the pages is gone."""
        ...


class Follower(Protocol):
    """Whoever wants to know. Called on the event loop; must not block.

    What ``changed``, ``add`` and ``done`` raise where an object is not what it should be (ValueError, KeyError,
    TypeError, AttributeError) is a fault of the watch; nothing else may be raised.
    """

    def gathering(self) -> Gathering:
        """Begin to take a list. One that is never ``done`` was given up, and counts for nothing."""
        ...

    def changed(self, kind: str, item: Manifest) -> None:
        """One event: ``ADDED``, ``MODIFIED`` or ``DELETED``."""
        ...


class Whole:
    """Takes all of a list at once, where there are never many.

    Args:
        listed: Gets all objects as of now: what is not among them is gone.
    """

    def __init__(self, listed: Callable[[list[Manifest]], None]) -> None:
        self._listed = listed
        self._items: list[Manifest] = []

    def add(self, items: list[Manifest]) -> None:
        """One page."""
        self._items += items

    def done(self) -> None:
        """That was all."""
        self._listed(self._items)
