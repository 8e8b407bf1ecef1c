"""Durations as people write them."""

from datetime import timedelta

import pytest

from signer.config.durations import parse_duration, show_duration
from tests.support.clock import DAY, HOUR, SECOND


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90s", 90 * SECOND),
        ("1h30m", 1.5 * HOUR),
        ("7d", 7 * DAY),
        ("250ms", SECOND / 4),
        ("1.5h", 1.5 * HOUR),
        ("0s", timedelta(0)),
        ("1d1h1m1s", DAY + HOUR + 61 * SECOND),
        ("5m5m", 600 * SECOND),
    ],
)
def test_parse(text: str, meant: timedelta) -> None:
    """Numbers with units, added up."""
    assert parse_duration(text) == meant


@pytest.mark.parametrize(
    "value",
    ["", "90", "1 h", " 1h", "1h ", "1h\n", "-1h", "+1h", "h", "1w", "1H", ".5h", "1.h", "1e3s", "1h-30m", "\u0661s"],
)
def test_not_a_duration(value: str) -> None:
    """Without a unit it could be anything."""
    with pytest.raises(ValueError, match="write a duration with its unit"):
        parse_duration(value)


@pytest.mark.parametrize("value", [90, 1.5, None, True, ["1h"], {"h": 1}, b"1h"])
def test_not_a_text(value: object) -> None:
    """A bare number has no unit."""
    with pytest.raises(ValueError, match="write a duration with its unit"):
        parse_duration(value)


@pytest.mark.parametrize("text", ["36601d", "9" * 400 + "d", "1d" * 40_000])
def test_longer_than_a_century(text: str) -> None:
    """Would overflow a certificate's dates."""
    with pytest.raises(ValueError, match="longer than a century"):
        parse_duration(text)


def test_a_duration_is_one() -> None:
    """Defaults are written in code."""
    assert parse_duration(HOUR) == HOUR


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (DAY + 2 * HOUR + 3 * SECOND, "1d2h"),
        (45 * 60 * SECOND, "45m"),
        (30 * SECOND, "30s"),
        (timedelta(0), "0s"),
        (SECOND / 2, "0s"),
        (-90 * SECOND, "-1m30s"),
        (3650 * DAY, "3650d"),
        (DAY + 5 * SECOND, "1d5s"),
    ],
)
def test_show(duration: timedelta, shown: str) -> None:
    """The two largest units."""
    assert show_duration(duration) == shown
