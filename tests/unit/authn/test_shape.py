"""The cheap look at a token: it refuses rubbish, and believes nothing."""

import json
from datetime import UTC, datetime

import pytest

from signer.authn.shape import MAX_TOKEN_CHARS, carried, check_shape, read, shaped
from signer.core.errors import AuthenticationFailed
from tests.support.clock import NOW, FakeClock
from tests.support.fakes import credentials
from tests.support.tokens import AUDIENCES, NOW_SECONDS, raw_token, segment, token

_GOOD = token()

RUBBISH: dict[str, tuple[str, str]] = {
    "empty": ("", "empty"),
    "1 MB": ("a" * 2**20, "1048576 characters"),
    "1 MB of dots": ("." * 2**20, "characters"),
    "just over the limit": (_GOOD + "a" * (MAX_TOKEN_CHARS + 1 - len(_GOOD)), f"{MAX_TOKEN_CHARS} are allowed"),
    "opaque": ("a-legacy-opaque-token", "not a JWT"),
    "two parts": (_GOOD.rpartition(".")[0], "not a JWT"),
    "four parts": (_GOOD + ".x", "not a JWT"),
    "no signature": (_GOOD.rpartition(".")[0] + ".", "not a JWT"),
    "padding": (_GOOD.replace(".", "=.", 1), "not a JWT"),
    "newline at the end": (_GOOD + "\n", "not a JWT"),
    "space in front": (" " + _GOOD, "not a JWT"),
    "standard base64": (_GOOD[:-1] + "+", "not a JWT"),
    "not ASCII": (_GOOD + "\u00e9", "not a JWT"),
    "lone surrogate": (_GOOD + "\ud800", "not a JWT"),
    "bad base64": ("a.b.c", "claims are not JSON"),
    "not JSON": (raw_token(b"{"), "claims are not JSON"),
    "not UTF-8": (raw_token(b"\xff\xfe\xfd"), "claims are not JSON"),
    "nested lists": (raw_token(b"[" * 12000), "claims are not JSON"),
    "nested objects": (raw_token(b'{"a":' * 2000), "claims are not JSON"),
    "a list": (raw_token(b"[]"), "not a JSON object"),
    "a text": (raw_token(b'"x"'), "not a JSON object"),
    "a number": (raw_token(b"1"), "not a JSON object"),
    "null": (raw_token(b"null"), "not a JSON object"),
    "a number of 5000 digits": (raw_token(b'{"exp":' + b"9" * 5000 + b"}"), "claims are not JSON"),
    "long expired": (token(exp=NOW_SECONDS - 61), "the token expired at"),
    "expired in 1970": (token(exp=0), "the token expired at"),
    "another audience": (token(aud="vault"), "the token is for ['vault']"),
    "other audiences": (token(aud=["a", "b"]), "the token is for ['a', 'b']"),
    "audience in upper case": (token(aud="ISTIO-CA"), "the token is for"),
    "audiences of odd types": (token(aud=[1, None, {"istio-ca": 1}]), "the token is for []"),
    "audience of control characters": (token(aud="\u0000\n\u001b[2J"), "the token is for"),
    "audience of 10 KB": (token(aud="x" * 10_000), "the token is for"),
}


@pytest.mark.parametrize(("text", "reason"), RUBBISH.values(), ids=RUBBISH.keys())
def test_refused(text: str, reason: str) -> None:
    """With a reason in one line that quotes little of it, and never the token."""
    with pytest.raises(AuthenticationFailed) as refusal:
        check_shape(text, AUDIENCES, NOW)
    said = refusal.value.reason
    assert reason in said
    assert said.isascii()
    assert said.isprintable()
    assert not text or text not in said
    assert len(said) < 1000


PASSES: dict[str, str] = {
    "good": _GOOD,
    "one of two audiences": token(aud=["vault", "istio-ca"]),
    "audience as a text": token(aud="istio-ca"),
    "no audience": token(aud=None),
    "an empty list of audiences": token(aud=[]),
    "audience of an odd type": token(aud={"istio-ca": True}),
    "no expiry": token(exp=None),
    "expired a minute ago": token(exp=NOW_SECONDS - 60),
    "expiry with a fraction": token(exp=NOW_SECONDS + 0.5),
    "expiry as a text": token(exp="tomorrow"),
    "expiry true": token(exp=True),
    "expiry as a list": token(exp=[1]),
    "expiry in the year 9999": token(exp=253402300799),
    "expiry after the year 9999": token(exp=253402300800),
    "expiry beyond all dates": token(exp=10**300),
    "expiry 1e308": raw_token(b'{"aud":"istio-ca","exp":1e308}'),
    "expiry infinite": raw_token(b'{"aud":"istio-ca","exp":Infinity}'),
    "expiry not a number": raw_token(b'{"aud":"istio-ca","exp":NaN}'),
    "algorithm none": raw_token(json.dumps({"aud": "istio-ca"}).encode(), b'{"alg":"none"}'),
    "algorithm HS256": raw_token(json.dumps({"aud": "istio-ca"}).encode(), b'{"alg":"HS256"}'),
    "header is no JSON": raw_token(json.dumps({"aud": "istio-ca"}).encode(), b"\xff"),
    "claims in UTF-16": raw_token('{"aud":"istio-ca"}'.encode("utf-16")),
    "a claim twice": raw_token(b'{"aud":"vault","aud":"istio-ca"}'),
}


@pytest.mark.parametrize("text", PASSES.values(), ids=PASSES.keys())
def test_passed_on(text: str) -> None:
    """What is not surely bad is for the judge to decide; algorithms are its business."""
    check_shape(text, AUDIENCES, NOW)


@pytest.mark.parametrize(
    ("claim", "read"),
    [
        (NOW_SECONDS, NOW),
        (NOW_SECONDS + 0.5, datetime(2025, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("x", None),
        (True, None),
        (10**300, None),
    ],
)
def test_expiry_is_read(claim: object, read: datetime | None) -> None:
    """As a time, or as nothing."""
    assert check_shape(token(exp=claim), AUDIENCES, NOW).expires == read


def test_audiences_are_read() -> None:
    """Texts only."""
    assert check_shape(token(aud=["istio-ca", 1]), AUDIENCES, NOW).audiences == frozenset({"istio-ca"})


def test_the_limit_itself() -> None:
    """A token of exactly the longest length."""
    claims = segment(json.dumps({"aud": "istio-ca"}).encode())
    signature = "a" * (MAX_TOKEN_CHARS - len(claims) - 3)
    assert check_shape(f"a.{claims}.{signature}", AUDIENCES, NOW)


@pytest.mark.parametrize(
    ("text", "counted"), [(None, []), ("", ["shape"]), ("a-legacy-opaque-token", ["shape"]), (token(exp=0), ["shape"])]
)
def test_the_token_of_a_call_is_refused(text: str | None, counted: list[str]) -> None:
    """What was shown and has not the shape is counted."""
    told = list[str]()
    with pytest.raises(AuthenticationFailed):
        shaped(carried(credentials(text)), AUDIENCES, FakeClock(), told.append)
    assert told == counted


def test_the_token_of_a_call() -> None:
    """As it came, with what it says of itself."""
    told = list[str]()
    assert carried(credentials(_GOOD)) == _GOOD
    assert shaped(_GOOD, AUDIENCES, FakeClock(), told.append) == read(_GOOD)
    assert told == []
