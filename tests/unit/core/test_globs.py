"""Patterns over names: whole names, exact case, none for all."""

import time

import pytest

from signer.core.globs import ANY, Globs


@pytest.mark.parametrize(
    ("patterns", "text", "matches"),
    [
        ((), "anything", True),
        (("payments",), "payments", True),
        (("payments",), "payments-eu", False),
        (("payments",), "a-payments", False),
        (("payments-*",), "payments-eu", True),
        (("payments-*",), "payments", False),
        (("pay?ents",), "payments", True),
        (("[a-c]*",), "billing", True),
        (("[!a-c]*",), "billing", False),
        (("PAYMENTS",), "payments", False),
        (("a", "b"), "b", True),
        (("a.b",), "axb", False),
        (("*",), "", True),
        (("payments",), "payments\n", False),
        (("payments*",), "payments\n", True),
        (("",), "a", False),
        (("[b-a]",), "a", False),
        (("a+",), "aa", False),
        (("[",), "[", True),
    ],
)
def test_globs(patterns: tuple[str, ...], text: str, matches: bool) -> None:
    """Shell-style, over the whole text, case counts."""
    assert Globs(patterns).matches(text) is matches


def test_any() -> None:
    """No pattern is no condition."""
    assert ANY.matches("")
    assert ANY.matches("anything\n")
    assert Globs() == ANY != Globs(("*",))


def test_patterns_are_the_value() -> None:
    """Rules are compared when a configuration is re-read."""
    assert Globs(("a*",)) == Globs(("a*",))
    assert Globs(("a*",)) != Globs(("b*",))
    assert hash(Globs(("a*",))) == hash(Globs(("a*",)))
    assert repr(Globs(("a*",))) == "Globs(patterns=('a*',))"


def test_many_stars_take_no_time() -> None:
    """A name that almost matches does not make the matcher try every way."""
    start = time.process_time()
    assert not Globs(("*a" * 40 + "b",)).matches("a" * 250)
    assert time.process_time() - start < 1.0
