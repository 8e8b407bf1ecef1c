"""Backends' own sections. Backends know no configuration library: they bring a dataclass, and it is checked here."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias, get_type_hints

from pydantic import TypeAdapter, ValidationError

from signer.config.complaints import BadConfig, Where
from signer.config.durations import parse_duration
from signer.config.model import Config

# Type name -> the dataclass of its settings; raises LookupError with a text for people.
SettingsOf: TypeAlias = Callable[[str], type[Any]]
_Complaint: TypeAlias = tuple[tuple[str | int, ...], str]


def backend_settings(config: Config, settings_of: SettingsOf, where: Where) -> dict[str, tuple[str, Any]]:
    """Check every backend's section.

    Returns:
        Backend name -> its type and its settings.

    Raises:
        BadConfig: With every complaint at once.
    """
    complaints = [where.complain(location, text) for location, text in _undefined(config)]
    checked: dict[str, tuple[str, Any]] = {}
    for name, section in config.backends.items():
        found, faults = _section(section, settings_of)
        complaints += [where.complain(("backends", name, *location), text) for location, text in faults]
        if found is not None:
            checked[name] = found
    if complaints:
        raise BadConfig(complaints)
    return checked


def _undefined(config: Config) -> Iterator[_Complaint]:
    """Names of backends that there are none of."""
    named: list[tuple[tuple[str | int, ...], str | None]] = [(("serving", "backend"), config.serving.backend)]
    named += [(("routes", i, "backends", j), n) for i, r in enumerate(config.routes) for j, n in enumerate(r.backends)]
    for location, name in named:
        if name is not None and name not in config.backends:
            yield location, f"backend {name!r} is not defined; defined are {', '.join(config.backends)}"


def _section(section: dict[str, Any], settings_of: SettingsOf) -> tuple[tuple[str, Any] | None, list[_Complaint]]:
    values = dict(section)
    type_name = values.pop("type", None)
    if not isinstance(type_name, str):
        return None, [(("type",), "say which type of backend this is, such as: local")]
    try:
        settings = settings_of(type_name)
    except LookupError as error:
        return None, [(("type",), str(error))]
    values, faults = _prepared(settings, values)
    if faults:
        return None, faults
    try:
        return (type_name, TypeAdapter(settings).validate_python(values)), []
    except ValidationError as error:
        return None, [(e["loc"], e["msg"]) for e in error.errors()]


def _prepared(settings: type[Any], values: dict[str, Any]) -> tuple[dict[str, Any], list[_Complaint]]:
    """Read ``timedelta`` fields as durations and refuse unknown keys."""
    hints = get_type_hints(settings)
    known = {f.name for f in dataclasses.fields(settings)}
    prepared: dict[str, Any] = {}
    faults: list[_Complaint] = []
    for key, value in values.items():
        if key not in known:
            faults.append(((key,), f"no such key; this type has {', '.join(sorted(known))}"))
            continue
        try:
            prepared[key] = parse_duration(value) if hints[key] is timedelta else value
        except ValueError as error:
            faults.append(((key,), str(error)))
    return prepared, faults
