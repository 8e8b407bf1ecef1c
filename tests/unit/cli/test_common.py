"""Types of options, as argparse uses them."""

import argparse

import pytest

from signer.cli.common import number_between, whole_number


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("60", 60), ("86400", 86400)])
def test_whole_number_within(text: str, value: int) -> None:
    assert whole_number(1, 86400)(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "86401", "1.5", "1e3", "", " 1", "1_0", "\u0661", "9" * 5000, "x"])
def test_whole_number_without(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="give a whole number from 1 to 86400"):
        whole_number(1, 86400)(text)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("1e-3", 0.001)])
def test_number_within(text: str, value: float) -> None:
    assert number_between(0, 1)(text) == value


@pytest.mark.parametrize("text", ["0", "1", "2", "-1", "nan", "inf", "-inf", "", "x"])
def test_number_without(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="give a number over 0 and under 1"):
        number_between(0, 1)(text)
