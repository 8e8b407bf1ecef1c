"""What a call was refused with."""

from collections.abc import Callable
from typing import TypeVar

E = TypeVar("E", bound=Exception)


def refusal(kind: type[E], call: Callable[[], object]) -> E | None:
    """The refusal, or None where there was none; any other exception is not caught."""
    try:
        call()
    except kind as error:
        return error
    return None


def is_one_line(text: str) -> bool:
    """Whether a text may stand in a log: one line, ASCII, nothing that a terminal obeys."""
    return text.isascii() and text.isprintable()
