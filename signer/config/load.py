"""From a file and the environment to a checked Config, or to a list of complaints that say where and what to do."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from signer.config.backends import SettingsOf, backend_settings, undefined
from signer.config.complaints import BadConfig, Where, plain
from signer.config.model import Config
from signer.config.positions import BadYaml, KeyPath, read_yaml
from signer.config.seed_env import NAME as VAULT
from signer.config.seed_env import vault_keys
from signer.config.whole import mismatched

PREFIX = "ISTIO_SIGNER_"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, with each backend's type and checked settings."""

    config: Config
    backends: dict[str, tuple[str, Any]]


def load(
    path: Path | None,
    settings_of: SettingsOf,
    environment: Mapping[str, str] | None = None,
    base: dict[str, Any] | None = None,
) -> Loaded:
    """Read, merge and check.

    Args:
        path: The YAML file; None means defaults, ``base`` and the environment alone.
        settings_of: Finds a backend type's settings class.
        environment: Variables; the process's own where None.
        base: Values under the file's.

    Raises:
        BadConfig: With every complaint at once.
    """
    data, lines = _read(path) if path else ({}, {})
    merged, where = merge(base or {}, data), Where(path, dict(lines))
    variables_of = os.environ if environment is None else environment
    for variable, key, value in from_environment(variables_of):
        merged = merge(merged, _nest(key, value))
        where.override(key, value, variable)
    for variable, key, text in vault_keys(variables_of, merged.get("backends")):
        merged = merge(_nest((*key[:2], "type"), VAULT), merge(merged, _nest(key, text)))
        where.override(key, text, variable)
    # Judged even where the model is wrong, so that nobody mends a file in two rounds.
    backends, complaints = backend_settings(merged.get("backends"), settings_of, where)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise BadConfig([*(where.complain(e["loc"], plain(e)) for e in error.errors()), *complaints]) from None
    complaints = [*undefined(config, where), *mismatched(config, where), *complaints]
    if complaints:
        raise BadConfig(complaints)
    return Loaded(config, backends)


def _read(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise BadConfig([f"{path}: not UTF-8 text"]) from None
    except BadYaml as error:
        raise BadConfig([f"{path}: {error}"]) from None


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another; mappings merge, everything else is replaced."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def variables(model: type[BaseModel] = Config, path: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every environment variable and the key it sets; lists and mappings are given as YAML."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from variables(inner, (*path, name))
        else:
            yield PREFIX + "_".join((*path, name)).upper(), (*path, name)


def from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every variable that is given, its key and its value. Variables of no key are left alone: Kubernetes makes some.

    Raises:
        BadConfig: A value is not YAML.
    """
    for variable, path in variables():
        if variable in environment:
            yield variable, path, _value(variable, environment[variable])


def _value(variable: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadConfig([f"environment: {variable}: the value is not valid YAML"]) from None


def _nest(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)
