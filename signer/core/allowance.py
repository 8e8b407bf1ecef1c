"""How long the attempt under way may take: set by whoever limits it, read by a backend that knows more than "late".

A caller chooses its deadline, and one that ends first would hide from the backend that it has run out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

_SECONDS: ContextVar[float] = ContextVar("allowed_seconds", default=inf)


def allowed_seconds() -> float:
    """Seconds for the whole attempt; infinite where nobody limits it."""
    return _SECONDS.get()


@contextmanager
def allowing(seconds: float) -> Iterator[None]:
    """Limit the attempts made inside by so many seconds; enforcing it is the caller's."""
    token = _SECONDS.set(seconds)
    try:
        yield
    finally:
        _SECONDS.reset(token)
