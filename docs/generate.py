"""Rewrites the generated blocks of the documentation: help text, configuration, metrics, events, errors.

Run it with the project's Python after a change of any of these: ``python docs/generate.py``. The text between
``<!-- generated: NAME -->`` and ``<!-- end of NAME -->`` is replaced; all else is written by hand.
``tests/unit/test_docs.py`` fails while a block is out of date.
"""

import dataclasses
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import backends as registry
from signer.cli.main import parser
from signer.config.durations import show_duration
from signer.config.load import variables
from signer.config.model import BackendSection, Config
from signer.core.errors import BUG, CANCELLED, MEANINGS, Meaning
from signer.core.events import BackendEvent, BackendMoment
from signer.observe.metrics import CITADEL_COUNTERS, CITADEL_GAUGES, OWN, Metrics

ROOT = Path(__file__).resolve().parent.parent
HELP_COLUMNS = "100"


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One row of a configuration table."""

    path: str
    type: str
    default: str
    variable: str
    purpose: str


def all_keys() -> list[Key]:
    """List every key of the configuration file, in the model's order."""
    return [*_model_keys(Config, ""), *_backend_keys()]


def _model_keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    names = {".".join(path): variable for variable, path in variables()}
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        section, many = _section(field.annotation)
        if section is None or many:
            yield Key(path, _type(field.annotation, field), _default(field), names.get(path, ""), _purpose(path, field))
        if section is not None:
            yield from _model_keys(section, f"{path}[]." if many else f"{path}.")


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that a field holds, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    inner = get_args(annotation)[:1] if get_origin(annotation) is list else ()
    if inner and isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
        return inner[0], True
    return None, False


_NAMES: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    timedelta: "duration",
    Path: "path",
    types.NoneType: "none",
    Any: "anything",
}


# What the model's own validators ask for.
_VALIDATORS = {"_positive": "over 0s", "_at_most_10s": "at most 10s", "_address": "host:port"}


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        text = " or ".join(f"`{value}`" for value in inner)
    elif origin in (Union, types.UnionType):
        text = " or ".join(_type(part) for part in inner if part is not types.NoneType)
    elif origin is list:
        text = f"list of {_type(inner[0])}"
    elif origin is dict:
        text = "mapping"
    elif hasattr(annotation, "__metadata__"):
        return _type(inner[0]) + _bounds(annotation.__metadata__)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        text = "sections"
    else:
        text = _NAMES.get(annotation, {"IPv4Address": "IPv4", "IPv6Address": "IPv6"}.get(annotation.__name__, "?"))
    return text + (_bounds(field.metadata) if field else "")


def _rules(metadata: Iterable[Any]) -> Iterator[Any]:
    """The rules in a piece of metadata; inside an Optional they still stand in the Field that they were written in."""
    for rule in metadata:
        yield from rule.metadata if isinstance(rule, FieldInfo) else (rule,)


def _bounds(metadata: Iterable[Any]) -> str:
    """What a type's metadata allows, in words."""
    parts = []
    for rule in _rules(metadata):
        for sign, words in (("ge", "at least"), ("gt", "over"), ("le", "at most"), ("lt", "under")):
            limit = getattr(rule, sign, None)
            if limit is not None:
                parts.append(f"{words} {show_duration(limit) if isinstance(limit, timedelta) else limit}")
        said = _VALIDATORS.get(getattr(getattr(rule, "func", None), "__name__", ""))
        parts += [said] if said else []
    return f", {', '.join(parts)}" if parts else ""


def _default(field: FieldInfo) -> str:
    return "**needed**" if field.default is PydanticUndefined else _shown(field.default)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        return f"`{show_duration(value)}`"
    if isinstance(value, list):
        if value and isinstance(value[0], BaseModel):
            return "one section, all defaults"
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if value != "" else '`""`'


def _purpose(path: str, field: FieldInfo) -> str:
    text = field.description or ""
    return " ".join(text.replace("``", "`").split())


def _backend_keys() -> Iterator[Key]:
    """Those that all backends have; then each built-in type's, from its dataclass and that one's ``Attributes``."""
    yield from _model_keys(BackendSection, "backends.NAME.")
    for type_name in registry.BUILT_IN:
        yield Key("backends.NAME.type", f"`{type_name}`", "**needed**", "", "Which kind of backend this is.")
        yield from _dataclass_keys(registry.spec(type_name).settings, "backends.NAME.")


def _dataclass_keys(settings: type[Any], prefix: str, needed: str = "**needed**") -> Iterator[Key]:
    """A section's keys; a section inside it is spelt out under its own name."""
    hints = get_type_hints(settings)
    said = {key: text for kind in settings.__mro__ for key, text in _attributes(kind.__doc__ or "").items()}
    for field in dataclasses.fields(settings):
        inner = next(
            (t for t in (hints[field.name], *get_args(hints[field.name])) if dataclasses.is_dataclass(t)), None
        )
        if isinstance(inner, type):
            yield Key(f"{prefix}{field.name}", "section", _section_default(field), "", said[field.name])
            within = "needed in it" if field.default is None else needed
            yield from _dataclass_keys(inner, f"{prefix}{field.name}.", within)
        else:
            default = _dataclass_default(field) or needed
            yield Key(f"{prefix}{field.name}", _type(hints[field.name]), default, "", said[field.name])


def _section_default(field: dataclasses.Field[Any]) -> str:
    if field.default is None:
        return "none"
    return "**needed**" if field.default_factory is dataclasses.MISSING else "its defaults"


def _dataclass_default(field: dataclasses.Field[Any]) -> str:
    """Empty where there is none."""
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    return "" if field.default_factory is dataclasses.MISSING else _shown(field.default_factory())


def _attributes(docstring: str) -> dict[str, str]:
    lines = docstring.partition("Attributes:")[2].splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        entry = re.fullmatch(r" {8}(\w+): (.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith(" " * 12):
            found[name] += f" {line.strip()}"
    return {key: text.replace("``", "`") for key, text in found.items()}


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def configuration() -> str:
    """A heading and a table for each top-level section."""
    blocks: dict[str, list[Key]] = {}
    for key in all_keys():
        blocks.setdefault(re.split(r"[.\[]", key.path)[0], []).append(key)
    parts = []
    for top, rows in blocks.items():
        cells = [(f"`{k.path}`", k.type, k.default, f"`{k.variable}`" if k.variable else "", k.purpose) for k in rows]
        parts.append(f"### `{top}`\n\n{_table(('key', 'type', 'default', 'environment variable', 'what for'), cells)}")
    return "\n\n".join(parts)


def _kinds() -> dict[str, str]:
    metrics = Metrics()
    metrics.lines(dict)
    return {family.name: family.type for family in metrics.registry.collect()}


def metrics() -> str:
    """Istio's names first, then ours."""
    kinds = _kinds()
    rows = []
    for spec in (*CITADEL_COUNTERS.values(), *CITADEL_GAUGES.values(), *OWN.values()):
        kind = kinds.get(spec.name) or kinds.get(spec.name.removesuffix("_total")) or "unknown"
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        rows.append((f"`{spec.name}`", "untyped" if kind == "unknown" else kind, labels, spec.help))
    return _table(("metric", "type", "labels", "meaning"), rows)


def events() -> str:
    """The closed sets of label values that backends tell, and what each means."""
    rows = [("`event`", f"`{event.value}`", event.meaning) for event in BackendEvent]
    rows += [("`moment`", f"`{moment.value}`", moment.meaning) for moment in BackendMoment]
    return _table(("label", "value", "meaning"), rows)


def errors() -> str:
    """One row for each kind of failure."""

    def row(name: str, told: Meaning) -> tuple[str, ...]:
        label = f"`{told.citadel_error}`" if told.citadel_error else ""
        return f"`{name}`", f"`{told.code.value}`", "yes" if told.retryable else "no", told.public, label

    rows = [row(kind.__name__, told) for kind, told in MEANINGS.items()]
    rows += [row("any other exception", BUG), row("CancelledError", CANCELLED)]
    head = ("class", "gRPC code", "agent retries", "what the caller reads", "`csr_sign_err_count` label")
    return _table(head, rows)


def help_text() -> str:
    """``istio-signer --help`` on a terminal of ``HELP_COLUMNS`` columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = HELP_COLUMNS
    try:
        text = parser().format_help().rstrip("\n")
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return f"```console\n$ istio-signer --help\n{text}\n```"


BLOCKS: dict[str, tuple[str, Callable[[], str]]] = {
    "help": ("README.md", help_text),
    "configuration": ("docs/configuration.md", configuration),
    "metrics": ("docs/operations.md", metrics),
    "events": ("docs/operations.md", events),
    "errors": ("docs/errors.md", errors),
}


def with_block(text: str, name: str, block: str) -> str:
    """Put a block into the text of its file.

    Raises:
        ValueError: The file has no such markers.
    """
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no markers for the block {name}")
    return pattern.sub(lambda found: f"{found[1]}{block}\n{found[2]}", text)


def main() -> int:
    """Rewrite every block that is out of date."""
    for name, (file, make) in BLOCKS.items():
        path = ROOT / file
        old = path.read_text(encoding="utf-8")
        new = with_block(old, name, make())
        if new != old:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{file}: block {name} rewritten\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
