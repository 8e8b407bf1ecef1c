"""Pauses grow to their bound, and chance takes up to half of each."""

import pytest

from signer.core.backoff import pause_after

CEILINGS = [(0, 0.5), (1, 1.0), (3, 4.0), (7, 60.0), (10_000, 60.0)]


@pytest.mark.parametrize(("failures", "ceiling"), CEILINGS)
def test_between_half_of_the_ceiling_and_all_of_it(failures: int, ceiling: float) -> None:
    pauses = [pause_after(failures, 0.5, 60.0, chance) for chance in (0.0, 0.5, 1.0)]
    assert pauses == [ceiling / 2, ceiling * 0.75, ceiling]


def test_without_a_bound_the_tenth_failure_is_the_last_to_count() -> None:
    assert pause_after(11, 1.0, 1e9, 1.0) == pause_after(10, 1.0, 1e9, 1.0) == 1024.0
