"""One case: something that a stranger or a backend may send, and what must be said to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from signer.core.errors import SignerError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """A named case with its verdict.

    Attributes:
        make: Builds it; its docstring draws it and says why.
        verdict: The exact class of the refusal; None where it must pass.
        reason: A part of the refusal's reason.
    """

    name: str
    make: Callable[[], T]
    verdict: type[SignerError] | None = None
    reason: str = ""

    def __str__(self) -> str:
        return self.name


class Corpus(Generic[T]):
    """Cases in the order in which they are written down."""

    def __init__(self) -> None:
        self.cases: list[Case[T]] = []

    def good(self, make: Callable[[], T]) -> Callable[[], T]:
        """Enter a case that must pass."""
        self.cases.append(Case(make.__name__, make))
        return make

    def bad(self, verdict: type[SignerError], reason: str) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Enter a case that must be refused."""

        def enter(make: Callable[[], T]) -> Callable[[], T]:
            self.cases.append(Case(make.__name__, make, verdict, reason))
            return make

        return enter
