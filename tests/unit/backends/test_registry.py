"""The registry of backends: a literal table, and what others install."""

from importlib.metadata import EntryPoint

import pytest

import backends
from backends import UnknownBackend, spec, types
from signer.core.spec import BackendSpec


@pytest.mark.parametrize("name", backends.BUILT_IN)
def test_built_in(name: str) -> None:
    """Each line leads to a SPEC of that name, with settings that a configuration can fill."""
    found = spec(name)
    assert found.name == name
    assert found.settings.__dataclass_fields__
    assert found.settings.__dataclass_params__.frozen
    assert found.settings.__doc__


def test_types() -> None:
    """All that a configuration may name."""
    assert set(types()) >= set(backends.BUILT_IN)


def test_unknown() -> None:
    """Says what there is."""
    with pytest.raises(UnknownBackend, match=r"unknown backend type 'valt'; known: .*local"):
        spec("valt")


def _installed(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    entry = EntryPoint("mine", value, backends.ENTRY_POINTS)

    def found(group: str, name: str = "mine") -> list[EntryPoint]:
        return [entry] if (group, name) == (backends.ENTRY_POINTS, "mine") else []

    monkeypatch.setattr(backends, "entry_points", found)


def test_installed_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """By entry point; they cannot take a built-in name."""
    _installed(monkeypatch, "backends.local.spec:SPEC")
    assert isinstance(spec("mine"), BackendSpec)
    assert "mine" in types()


def test_installed_but_no_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else under that name."""
    _installed(monkeypatch, "backends.local.backend:LocalBackend")
    with pytest.raises(UnknownBackend, match="does not name a BackendSpec"):
        spec("mine")


@pytest.mark.parametrize(
    ("value", "fault"),
    [("no.such.module:SPEC", "ModuleNotFoundError"), ("backends.local.backend:NONE", "AttributeError")],
)
def test_installed_but_not_loadable(value: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complaint about the configuration, not the end of the process."""
    _installed(monkeypatch, value)
    with pytest.raises(UnknownBackend, match=f"^backend type 'mine' cannot be loaded: {fault}$"):
        spec("mine")


def test_built_in_but_not_loadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose library is not installed."""
    monkeypatch.setitem(backends.BUILT_IN, "absent", "no.such.module:SPEC")
    with pytest.raises(UnknownBackend, match="backend type 'absent' cannot be loaded: ModuleNotFoundError"):
        spec("absent")
