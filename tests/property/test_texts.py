"""Tokens and durations: texts from strangers and from operators."""

import json
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from signer.authn.shape import check_shape
from signer.authn.token_review import ReviewPolicy, caller_of
from signer.config.durations import MAX_SECONDS, parse_duration, show_duration
from signer.core.errors import AuthenticationFailed, SignerError
from signer.core.identity import TrustDomain
from signer.kube.answer import Answer
from tests.property.strategies import JSON
from tests.support.clock import NOW
from tests.support.refusals import is_one_line, refusal
from tests.support.tokens import AUDIENCES, raw_token

# The last minute of the year 9999 among them, where dates end.
_TIMES = st.integers() | st.floats() | st.integers(253402300740, 253402300799)
_CLAIMS = st.fixed_dictionaries({}, optional={"exp": _TIMES, "aud": st.just(AUDIENCES) | JSON})


def _refused_or_not(token: str) -> None:
    error = refusal(AuthenticationFailed, lambda: check_shape(token, AUDIENCES, NOW))
    assert error is None or is_one_line(error.reason)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"))
def test_any_token(text: str) -> None:
    """Refused or passed on, never another failure."""
    _refused_or_not(text)


@given(st.binary(max_size=200) | JSON.map(json.dumps).map(str.encode) | _CLAIMS.map(json.dumps).map(str.encode))
def test_any_claims(claims: bytes) -> None:
    """The same for whatever is in the middle part."""
    _refused_or_not(raw_token(claims))


@given(JSON, st.sampled_from([200, 201, 401, 403, 429, 500]))
def test_any_verdict(status: object, http: int) -> None:
    """An API server may answer anything: a verdict, or none, and the token in no reason."""
    policy = ReviewPolicy("c", TrustDomain("cluster.local"), AUDIENCES)
    answer = Answer(http, {"kind": "TokenReview", "status": status})
    error = refusal(SignerError, lambda: caller_of(answer, policy, "the-token"))
    assert error is None or (is_one_line(error.reason) and "the-token" not in error.reason)


@given(st.integers(0, int(MAX_SECONDS)))
def test_durations_round_trip(seconds: int) -> None:
    """What is shown is read back, to its two largest units."""
    duration = timedelta(seconds=seconds)
    shown = show_duration(duration)
    read = parse_duration(shown)
    assert timedelta(0) <= duration - read < timedelta(days=1)
    assert show_duration(read) == shown


@given(st.integers(0, 30_000), st.sampled_from("dh"))
def test_whole_units_are_exact(count: int, unit: str) -> None:
    """Days, and days with hours: nothing is lost."""
    duration = parse_duration(f"{count}{unit}")
    assert parse_duration(show_duration(duration)) == duration


@given(st.text())
def test_any_duration(text: str) -> None:
    """A duration or ValueError."""
    error = refusal(ValueError, lambda: parse_duration(text))
    assert parse_duration(text) >= timedelta(0) if error is None else len(str(error)) < 200
