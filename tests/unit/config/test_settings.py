"""Backends' settings of any depth: durations have units, unknown keys are refused, defaults are the dataclass's."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import pytest

from signer.config.backends import backend_settings
from signer.config.complaints import Where
from tests.support.clock import HOUR


@dataclass(frozen=True, slots=True)
class Auth:
    """How to log in."""

    method: Literal["kubernetes", "token"] = "kubernetes"
    ttl: timedelta = HOUR


@dataclass(frozen=True, slots=True)
class Intermediate:
    """A CA of one's own."""

    ttl: timedelta
    renew: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.ttl == timedelta(0):
            raise ValueError("must live for a while")


@dataclass(frozen=True, slots=True)
class Vault:
    """A section as a remote backend has it."""

    url: str
    auth: Auth = Auth()
    intermediate: Intermediate | None = None
    timeout: timedelta | None = None
    waits: list[timedelta] = field(default_factory=list)
    others: dict[str, Auth] = field(default_factory=dict)


def _judge(**section: Any) -> tuple[Any, list[str]]:
    raw = {"v": {"type": "vault", "url": "https://vault", **section}}
    checked, complaints = backend_settings(raw, lambda _: Vault, Where(None, {}))
    return checked.get("v", (None, None))[1], complaints


def test_defaults() -> None:
    """The dataclass's own."""
    assert _judge() == (Vault("https://vault"), [])


def test_durations_at_any_depth() -> None:
    """In sections, in optional sections, in lists and in mappings."""
    found, complaints = _judge(
        auth={"ttl": "2h"},
        intermediate={"ttl": "24h", "renew": "1h"},
        timeout="1h",
        waits=["1h", "2h"],
        others={"b": {"method": "token"}},
    )
    assert complaints == []
    inner = Intermediate(24 * HOUR, HOUR)
    assert found == Vault(
        "https://vault", Auth(ttl=2 * HOUR), inner, HOUR, [HOUR, 2 * HOUR], {"b": Auth(method="token")}
    )


@pytest.mark.parametrize("given", [{"intermediate": None}, {"timeout": None}])
def test_none_where_it_may_be(given: dict[str, None]) -> None:
    """As if it had not been written."""
    assert _judge(**given) == (Vault("https://vault"), [])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "optional": ({"timeout": 5}, "timeout: write a duration with its unit"),
    "inside": ({"auth": {"ttl": 5}}, "auth.ttl: write a duration with its unit"),
    "inside optional": ({"intermediate": {"ttl": 5}}, "intermediate.ttl: write a duration with its unit"),
    "optional inside": ({"intermediate": {"ttl": "1h", "renew": 5}}, "intermediate.renew: write a duration"),
    "in a list": ({"waits": ["1h", 5]}, "waits.1: write a duration with its unit"),
    "unknown": (
        {"urll": 1},
        "urll: no such key; there are auth, guard, intermediate, others, pins, timeout, url, waits",
    ),
    "unknown inside": ({"auth": {"tll": "1h"}}, "auth.tll: no such key; there are method, ttl"),
    "unknown inside optional": (
        {"intermediate": {"ttl": "1h", "tll": 1}},
        "intermediate.tll: no such key; there are r",
    ),
    "unknown in a mapping": ({"others": {"b": {"tll": 1}}}, "others.b.tll: no such key; there are method, ttl"),
    "missing inside": ({"intermediate": {}}, "intermediate.ttl: this key is needed"),
    "no section": ({"auth": "token"}, "auth: write keys with values here"),
    "choice": ({"auth": {"method": "x"}}, "auth.method: write 'kubernetes' or 'token'"),
    "its own rule": ({"intermediate": {"ttl": "0s"}}, "intermediate: must live for a while"),
}


@pytest.mark.parametrize(("section", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_wrong(section: dict[str, Any], complaint: str) -> None:
    """With its dotted location."""
    found, (said,) = _judge(**section)
    assert found is None
    assert said.startswith(f"environment: backends.v.{complaint}")


def test_all_at_once() -> None:
    """Of one section too."""
    assert len(_judge(url=1, auth={"ttl": 5, "tll": 5})[1]) == 3
