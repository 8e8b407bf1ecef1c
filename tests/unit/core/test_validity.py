"""Lifetimes: default, maximum, jitter, backdate, and never past the issuer."""

from dataclasses import replace
from datetime import timedelta

import pytest

from signer.core.errors import RefusedLocally, ValidityRejected
from signer.core.validity import (
    MAX_BACKDATE,
    MIN_REMAINING,
    ValidityPolicy,
    backdate_for,
    decide,
    renew_at,
)
from tests.support.clock import DAY, HOUR, NOW, SECOND

POLICY = ValidityPolicy(default_ttl=HOUR, max_ttl=DAY)
_YEAR = 365 * DAY
_HUGE = 2**63 - 1


def _left(requested: int, policy: ValidityPolicy = POLICY, chance: float = 0.0) -> timedelta:
    return decide(requested, policy, NOW, None, chance).not_after - NOW


@pytest.mark.parametrize("requested", [0, -1, -(2**63)])
def test_no_wish_means_the_default(requested: int) -> None:
    """Zero or less is no wish."""
    assert _left(requested) == HOUR


def test_default_over_the_maximum() -> None:
    """The maximum holds for the default as well."""
    assert _left(0, replace(POLICY, default_ttl=2 * DAY)) == DAY


@pytest.mark.parametrize("requested", [1, 60, 3600, 86400])
def test_a_wish_within_the_maximum(requested: int) -> None:
    """Is granted to the second; the maximum itself is allowed."""
    assert _left(requested) == timedelta(seconds=requested)
    assert _left(requested, replace(POLICY, over_max="reject")) == timedelta(seconds=requested)


@pytest.mark.parametrize("requested", [86401, 10**9, _HUGE])
def test_clamp(requested: int) -> None:
    """More becomes the maximum, without an overflow."""
    assert _left(requested) == DAY
    assert decide(requested, POLICY, NOW, None, 0.0).requested == requested


@pytest.mark.parametrize("requested", [86401, _HUGE])
def test_reject(requested: int) -> None:
    """Or is refused where the profile says so."""
    with pytest.raises(ValidityRejected, match="86400 s are allowed"):
        _left(requested, replace(POLICY, over_max="reject"))


@pytest.mark.parametrize(("chance", "left"), [(0.0, 3600), (0.5, 3240), (0.999, 2880)])
def test_jitter_only_shortens(chance: float, left: int) -> None:
    """Chance takes up to its part off, and never adds."""
    assert _left(3600, replace(POLICY, jitter=0.2), chance) == timedelta(seconds=left)


def test_jitter_leaves_a_second() -> None:
    """Nothing is shorter than one second."""
    assert _left(1, replace(POLICY, jitter=0.99), 0.99) == SECOND


@pytest.mark.parametrize(
    ("lifetime", "backdate"), [(1, 0), (9, 0), (10, 1), (60, 6), (599, 59), (600, 60), (86400, 60)]
)
def test_backdate_scales(lifetime: int, backdate: int) -> None:
    """A tenth of the life, a minute at most, whole seconds."""
    assert backdate_for(timedelta(seconds=lifetime)) == timedelta(seconds=backdate)
    assert timedelta(seconds=backdate) <= MAX_BACKDATE


@pytest.mark.parametrize("requested", [1, 2, 5, 10, 60, 3600, 86400])
def test_half_life_lies_ahead(requested: int) -> None:
    """ztunnel renews at half of the whole span: were that in the past, it would fetch without end."""
    given = decide(requested, POLICY, NOW, None, 0.0)
    assert given.not_before + given.lifetime / 2 > NOW - SECOND / 2
    assert given.not_before <= NOW < given.not_after


def test_never_past_the_issuer() -> None:
    """A leaf ends with its CA at the latest."""
    end = NOW + timedelta(minutes=20)
    given = decide(3600, POLICY, NOW, (NOW - DAY, end), 0.0)
    assert given.not_after == end
    assert given.not_before == NOW - timedelta(seconds=60)


def test_an_issuer_with_fractions_of_seconds() -> None:
    """Certificates know whole seconds: the end is rounded down."""
    end = NOW + timedelta(minutes=20, microseconds=999_999)
    assert decide(3600, POLICY, NOW, (NOW - DAY, end), 0.0).not_after == NOW + timedelta(minutes=20)


@pytest.mark.parametrize("left", [MIN_REMAINING - SECOND, SECOND, timedelta(0), -SECOND, -_YEAR])
def test_an_issuer_about_to_end(left: timedelta) -> None:
    """Clients would renew at once and without end, so it is refused."""
    with pytest.raises(RefusedLocally, match="too soon to sign"):
        decide(3600, POLICY, NOW, (NOW - _YEAR, NOW + left), 0.0)


def test_an_issuer_with_just_enough_left() -> None:
    """The bound itself is allowed, and so is a shorter wish under a CA that ends soon."""
    window = (NOW - DAY, NOW + MIN_REMAINING)
    assert decide(3600, POLICY, NOW, window, 0.0).not_after == NOW + MIN_REMAINING
    assert decide(2, POLICY, NOW, (NOW - DAY, NOW + 2 * SECOND), 0.0).not_after == NOW + 2 * SECOND


def test_an_issuer_younger_than_the_backdate() -> None:
    """A leaf must not seem older than the CA that signed it."""
    start = NOW - 5 * SECOND
    assert decide(3600, POLICY, NOW, (start, NOW + DAY), 0.0).not_before == start


def test_an_issuer_from_the_future() -> None:
    """It pushes no start past now: a remote CA's clock may be ahead."""
    assert decide(3600, POLICY, NOW, (NOW + HOUR, NOW + DAY), 0.0).not_before == NOW


def test_now_between_seconds() -> None:
    """Both ends are whole seconds."""
    given = decide(60, POLICY, NOW + timedelta(microseconds=987_654), None, 0.0)
    assert (given.not_before, given.not_after) == (NOW - 6 * SECOND, NOW + 60 * SECOND)


@pytest.mark.parametrize(("ratio", "after"), [(0.5, 12), (0.25, 18)])
def test_renew_at(ratio: float, after: int) -> None:
    """The grace ratio is the part of the life that is left."""
    assert renew_at((NOW, NOW + DAY), ratio) == NOW + timedelta(hours=after)
