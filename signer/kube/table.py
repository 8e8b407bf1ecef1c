"""Objects by namespace and name, and how a new table is made beside the one in use."""

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from signer.kube.answer import Manifest


class Fact(Protocol):
    """What every object has."""

    @property
    def namespace(self) -> str:
        """Its namespace."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def uid(self) -> str:
        """Its ``metadata.uid``."""
        ...


F = TypeVar("F", bound=Fact)


class Table(Generic[F]):
    """All objects of a kind. Subclasses index them further."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, F]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def get(self, namespace: str, name: str) -> F | None:
        """Give what has that name."""
        return self._objects.get(namespace, {}).get(name)

    def put(self, fact: F) -> None:
        """Add an object, in place of another one of its name."""
        self.remove(fact.namespace, fact.name)
        self._objects.setdefault(fact.namespace, {})[fact.name] = fact
        self._added(fact)

    def remove(self, namespace: str, name: str) -> None:
        """Take an object out; nothing where there is none."""
        names = self._objects.get(namespace)
        old = names.pop(name, None) if names else None
        if names is not None and not names:
            del self._objects[namespace]
        if old is not None:
            self._removed(old)

    def _added(self, fact: F) -> None:
        """Index an object."""

    def _removed(self, fact: F) -> None:
        """Take an object out of the index."""


class Successor(Generic[F]):
    """A table in the making: filled page by page, it takes the place of the one in use when it is whole.

    A hundred thousand objects put into place at once would stall all requests for a third of a second. What has not
    changed is kept as it is: two of each would cost more memory than all else.

    Args:
        old: The one in use; does not change meanwhile.
        new: Empty.
        fact: Takes of a manifest what is kept.
        whole: Gets the new one.
    """

    def __init__(
        self, old: Table[F], new: Table[F], fact: Callable[[Manifest], F], whole: Callable[[Table[F]], None]
    ) -> None:
        self._old = old
        self._new = new
        self._fact = fact
        self._whole = whole

    def add(self, items: Iterable[Manifest]) -> None:
        """Take a page. Raises as ``fact`` does."""
        for item in items:
            fact = self._fact(item)
            known = self._old.get(fact.namespace, fact.name)
            self._new.put(known if known is not None and known == fact else fact)

    def done(self) -> None:
        """Take the old one's place."""
        self._whole(self._new)
