"""Complaints about a configuration: where, what is wrong, what to do."""

from dataclasses import dataclass
from pathlib import Path

from pydantic_core import ErrorDetails

from signer.config.positions import KeyPath


class BadConfig(ValueError):
    """The configuration cannot be used; one complaint a line."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


_WHOLE = "write a whole number, such as 8"
_NUMBER = "write a number, such as 0.5"
_BOOL = "write true or false"
_MAPPING = "write keys with values here, such as {{key: value}}"
_LIST = "write a list, such as [a, b]"
_TEXT = "write a text; in quotes, where it looks like a number, a date or true"
_PATH = "write a path, such as /etc/istio-signer/ca"
# The validation library's kinds of errors, in words that say what to write. Braces hold its context.
_WORDS = {
    "missing": "this key is needed",
    "extra_forbidden": "no such key; docs/configuration.md lists those that exist",
    "invalid_key": _TEXT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "path_type": _PATH,
    "literal_error": "write {expected}",
    "enum": "write {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "too_short": "must have {min_length} or more entries; it has {actual_length}",
    "string_too_short": "must have {min_length} or more characters",
    "none_required": "leave this empty",
}


def plain(error: ErrorDetails) -> str:
    """Say an error of the validation library in plain words."""
    words = _WORDS.get(error["type"])
    return error["msg"].removeprefix("Value error, ") if words is None else words.format_map(error.get("ctx", {}))


@dataclass(frozen=True, slots=True)
class Where:
    """What values came from: a file, and for each key its line there or the variable that set it."""

    path: Path | None
    sources: dict[KeyPath, int | str]

    def override(self, key: KeyPath, value: object, variable: str) -> None:
        """Note that a variable set a key, as it is merged: a mapping over what the file has, all else instead of it."""
        if isinstance(value, dict):
            self.sources.setdefault(key, variable)
            for name, inner in value.items():
                self.override((*key, name), inner, variable)
            return
        for path in [path for path in self.sources if path[: len(key)] == key]:
            del self.sources[path]
        self.sources[key] = variable

    def complain(self, location: KeyPath, text: str) -> str:
        """``FILE:LINE: key: text``, or ``environment: VARIABLE: key: text``."""
        return f"{self._source(location)}: {'.'.join(map(str, location)) or 'configuration'}: {text}"

    def _source(self, location: KeyPath) -> str:
        """The source of the nearest key that has one, and the variables that set a part of what is complained of."""
        above = (location[:length] for length in range(len(location), 0, -1))
        nearest = next((self.sources[path] for path in above if path in self.sources), None)
        found = [f"{self.path}:{nearest}"] if isinstance(nearest, int) else []
        names = [nearest] if isinstance(nearest, str) else self._variables_inside(location)
        if names:
            found.append(f"environment: {', '.join(names)}")
        return ", ".join(found) or str(self.path or "environment")

    def _variables_inside(self, location: KeyPath) -> list[str]:
        """A section may be wrong as a whole through one of its keys; of the whole configuration that says nothing."""
        inside = (s for path, s in self.sources.items() if location and path[: len(location)] == location)
        return sorted({source for source in inside if isinstance(source, str)})
