"""A backend's dataclass, mirrored as a model that reads what people write and refuses what it does not know."""

import dataclasses
from datetime import timedelta
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, create_model

from signer.config.fields import Duration


def mirrored(kind: Any) -> Any:
    """Give the type to validate against for ``kind``: durations need their unit and unknown keys are refused.

    Both hold at any depth: in optional fields, in lists, and in dataclasses inside of dataclasses.
    """
    if kind is timedelta:
        return Duration
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _section(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is None or origin is Literal:
        return kind
    if origin is Annotated:
        return Annotated[(mirrored(inner[0]), *inner[1:])]
    within = tuple(mirrored(part) for part in inner)
    return Union[within] if origin in (Union, UnionType) else origin[within]  # noqa: UP007  not known before it runs


def _section(settings: type[Any]) -> Any:
    hints = get_type_hints(settings, include_extras=True)
    fields = {f.name: (mirrored(hints[f.name]), _default(f)) for f in dataclasses.fields(settings) if f.init}
    options = ConfigDict(extra="forbid", protected_namespaces=())
    model: type[BaseModel] = create_model(settings.__name__, __config__=options, **fields)  # type: ignore[call-overload]

    def made(given: BaseModel) -> Any:
        # Only what was given, so that the defaults are the dataclass's own.
        return settings(**{name: getattr(given, name) for name in given.model_fields_set})

    return Annotated[model, AfterValidator(made)]


def _default(field: dataclasses.Field[Any]) -> Any:
    needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return ... if needed else None


def keys_at(kind: Any, location: tuple[str | int, ...]) -> list[str]:
    """List the keys that the section at ``location`` inside ``kind`` may have; none where there is no section."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not location:
            return sorted(f.name for f in dataclasses.fields(kind) if f.init)
        return keys_at(get_type_hints(kind).get(str(location[0])), location[1:])
    if get_origin(kind) in (list, tuple, dict):
        location = location[1:]
    found = (keys_at(part, location) for part in get_args(kind))
    return next((keys for keys in found if keys), [])
