"""Backends' own sections. Backends know no configuration library: they bring a dataclass, and it is checked here."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from signer.config.complaints import Where, plain
from signer.config.model import BackendSection, Config
from signer.config.positions import KeyPath
from signer.config.settings import keys_at, mirrored

# Type name -> the dataclass of its settings; raises LookupError with a text for people.
SettingsOf: TypeAlias = Callable[[str], type[Any]]
_Complaint: TypeAlias = tuple[KeyPath, str]
COMMON = tuple(BackendSection.model_fields)


def backend_settings(sections: object, settings_of: SettingsOf, where: Where) -> tuple[dict[str, Any], list[str]]:
    """Check every backend's section, as far as it is one: the model complains of what is no mapping.

    Args:
        sections: The value of ``backends``, not checked in any way.
        settings_of: Finds a backend type's settings class.
        where: Where the values came from.

    Returns:
        Backend name -> its type and its settings, and every complaint.
    """
    complaints: list[str] = []
    checked: dict[str, tuple[str, Any]] = {}
    for name, section in sections.items() if isinstance(sections, dict) else ():
        if not isinstance(name, str) or not isinstance(section, dict) or not all(isinstance(k, str) for k in section):
            continue
        found, faults = _section(section, settings_of)
        complaints += [where.complain(("backends", name, *location), text) for location, text in faults]
        if found is not None:
            checked[name] = found
    return checked, complaints


def undefined(config: Config, where: Where) -> list[str]:
    """Complain of names of backends that there are none of."""
    return [where.complain(location, text) for location, text in _undefined(config)]


def _undefined(config: Config) -> Iterator[_Complaint]:
    named: list[tuple[KeyPath, str | None]] = [
        (("serving", "backend"), config.serving.backend),
        (("istiod", "backend"), config.istiod.backend),
    ]
    named += [(("routes", i, "backends", j), n) for i, r in enumerate(config.routes) for j, n in enumerate(r.backends)]
    for location, name in named:
        if name is not None and name not in config.backends:
            yield location, f"backend {name!r} is not defined; defined are {', '.join(config.backends)}"


def _section(section: dict[str, Any], settings_of: SettingsOf) -> tuple[tuple[str, Any] | None, list[_Complaint]]:
    values = dict(section)
    type_name = values.pop("type", None)
    # Every backend has these, so they are the model's.
    for key in COMMON:
        values.pop(key, None)
    if not isinstance(type_name, str):
        return None, [(("type",), "say which type of backend this is, such as: local")]
    try:
        settings = settings_of(type_name)
    except LookupError as error:
        return None, [(("type",), str(error))]
    try:
        return (type_name, TypeAdapter(mirrored(settings)).validate_python(values)), []
    except ValidationError as error:
        return None, [(e["loc"], _text(settings, e)) for e in error.errors()]


def _text(settings: type[Any], error: ErrorDetails) -> str:
    """The settings may be another distribution's, which our documentation does not list."""
    common = () if error["loc"][:-1] else COMMON
    keys = keys_at(settings, error["loc"][:-1]) if error["type"] == "extra_forbidden" else []
    return f"no such key; there are {', '.join(sorted({*keys, *common}))}" if keys else plain(error)
