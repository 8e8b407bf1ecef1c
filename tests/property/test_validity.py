"""Lifetimes: whatever is asked for, by whatever policy, under whatever CA."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from signer.core.errors import BackendRefused, SignerError, ValidityRejected
from signer.core.validity import (
    MAX_BACKDATE,
    MIN_REMAINING,
    Validity,
    ValidityPolicy,
    Window,
    decide,
)
from tests.support.clock import NOW

_INT64 = st.integers(-(2**63), 2**63 - 1)
_WISHES = _INT64 | st.integers(-10, 100_000)
_TTLS = st.integers(1, 10**9).map(lambda seconds: timedelta(seconds=seconds)) | st.integers(1000, 10**8).map(
    lambda milliseconds: timedelta(milliseconds=milliseconds)
)
POLICIES = st.builds(
    ValidityPolicy,
    default_ttl=_TTLS,
    max_ttl=_TTLS,
    over_max=st.sampled_from(["clamp", "reject"]),
    jitter=st.floats(0.0, 0.999),
)
_CHANCES = st.floats(0.0, 1.0, exclude_max=True)
_OFFSETS = st.integers(-(10**9), 10**9) | st.integers(-100, 100)
_TIMES = st.integers(0, 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds)) | st.integers(0, 10**6).map(
    lambda micro: NOW + timedelta(microseconds=micro)
)


@st.composite
def _issuers(draw: st.DrawFn) -> Window | None:
    start = NOW + timedelta(seconds=draw(_OFFSETS))
    end = start + timedelta(seconds=draw(st.integers(0, 2 * 10**9)))
    return draw(st.sampled_from([None, (start, end)]))


def _decided(wish: int, policy: ValidityPolicy, issuer: Window | None, chance: float) -> Validity | SignerError:
    try:
        return decide(wish, policy, NOW, issuer, chance)
    except (ValidityRejected, BackendRefused) as error:
        return error


@given(_WISHES, POLICIES, _issuers(), _CHANCES)
def test_always_a_window_that_is_good_now(
    wish: int, policy: ValidityPolicy, issuer: Window | None, chance: float
) -> None:
    """not_before <= now < not_after <= the issuer's end; never longer than allowed; half of it lies ahead."""
    decided = _decided(wish, policy, issuer, chance)
    if isinstance(decided, SignerError):
        return
    assert decided.not_before <= NOW < decided.not_after
    assert decided.lifetime <= policy.max_ttl + MAX_BACKDATE
    assert decided.not_after - NOW <= policy.max_ttl
    assert decided.not_before + decided.lifetime / 2 > NOW - timedelta(microseconds=1)
    assert decided.not_before.microsecond == decided.not_after.microsecond == 0
    if issuer is not None:
        assert decided.not_after <= issuer[1]
        assert decided.not_before >= min(issuer[0], NOW)


@given(_WISHES, POLICIES, _issuers(), _CHANCES)
def test_refusals_have_a_reason(wish: int, policy: ValidityPolicy, issuer: Window | None, chance: float) -> None:
    """Too long only where the policy rejects, too late only where the issuer really ends."""
    decided = _decided(wish, policy, issuer, chance)
    if isinstance(decided, ValidityRejected):
        assert policy.over_max == "reject"
        assert wish > policy.max_ttl.total_seconds()
    if isinstance(decided, BackendRefused):
        assert issuer is not None
        assert issuer[1] - NOW < MIN_REMAINING


@given(_WISHES, POLICIES, _CHANCES)
def test_jitter_only_shortens(wish: int, policy: ValidityPolicy, chance: float) -> None:
    """Chance never adds."""
    plain, shortened = _decided(wish, policy, None, 0.0), _decided(wish, policy, None, chance)
    if isinstance(plain, Validity) and isinstance(shortened, Validity):
        assert shortened.not_after <= plain.not_after


@given(_TIMES, st.integers(1, 86400))
def test_time_of_day_does_not_count(now: object, wish: int) -> None:
    """The same wish, the same lifetime, whenever it comes."""
    policy = ValidityPolicy(timedelta(days=1), timedelta(days=1))
    lifetimes = {decide(wish, policy, each, None, 0.0).lifetime for each in (NOW, now)}  # type: ignore[arg-type]
    assert len(lifetimes) == 1
