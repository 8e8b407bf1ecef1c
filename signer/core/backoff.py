"""How long to wait before trying again: longer after each failure, and not all replicas at once."""

_DOUBLINGS = 10


def pause_after(failures: int, first: float, last: float, chance: float) -> float:
    """Give the seconds before the next attempt, between half of the ceiling and all of it.

    Args:
        failures: In a row; the ceiling doubles with each, up to the tenth.
        first: The ceiling without any failure, in seconds.
        last: The highest ceiling, in seconds.
        chance: From 0 to 1, where in between; by chance, so that replicas do not keep step.
    """
    ceiling = min(last, first * 2.0 ** min(failures, _DOUBLINGS))
    return ceiling * (1.0 + chance) / 2.0
