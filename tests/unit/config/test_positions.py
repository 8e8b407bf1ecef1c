"""Reading YAML that somebody else wrote."""

import time

import pytest

from signer.config.positions import BadYaml, read_plain_yaml

_LEVELS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
BOMB = "a0: &a0 [x]\n" + _LEVELS
REFUSED: dict[str, tuple[str, str]] = {
    "a bomb": (BOMB, r"line 2: aliases \(\*a0\) are not read here"),
    "itself": ("a: &a [*a]", "line 1: aliases"),
    "a merge": ("a: &a {b: c}\nd: {<<: *a}", "line 2: aliases"),
    "a key twice": ("a: 1\na: 2", "the key a is given twice"),
    "no mapping": ("[a]", "must be a mapping"),
    "no YAML": ("a: [", "not valid YAML"),
    "too deep": ("[" * 60_000, "nested too deep"),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(text: str, told: str) -> None:
    """At once: a few lines of aliases unfold to gigabytes."""
    begun = time.monotonic()
    with pytest.raises(BadYaml, match=told):
        read_plain_yaml(text)
    assert time.monotonic() - begun < 1.0


def test_what_is_read() -> None:
    """An anchor that nobody names is harmless."""
    assert read_plain_yaml("a: &x {b: [1, two]}\n") == {"a": {"b": [1, "two"]}}
    assert read_plain_yaml("") == {}
