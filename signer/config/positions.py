"""Reads YAML and remembers on which line each key stands, so that a complaint can point at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import yaml

# Of a document by somebody else; a kubeconfig has six levels.
MAX_DEPTH = 32
KeyPath: TypeAlias = tuple[str | int, ...]


class BadYaml(ValueError):
    """The text is no YAML mapping; the message has the line."""


def read_yaml(text: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Parse a document.

    Returns:
        The mapping, and for each key path the line it stands on, from 1.

    Raises:
        BadYaml: It is not YAML, not a mapping, or gives a key twice.
    """
    with yaml_faults():
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise BadYaml("line 1: the configuration must be a mapping of keys to values")
    try:
        return data, dict(_lines(node, ()))
    except RecursionError:
        raise BadYaml("line 1: nested too deep, or containing itself") from None


def read_plain_yaml(text: str) -> dict[str, Any]:
    """Parse a document that somebody else wrote, within bounds.

    Raises:
        BadYaml: It has aliases, is nested deeper than ``MAX_DEPTH``, or ``read_yaml`` refuses it.
    """
    with yaml_faults():
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            _check_plain(event, depth)
    return read_yaml(text)[0]


def _check_plain(event: yaml.Event, depth: int) -> None:
    """A few lines of aliases unfold to gigabytes, and the time that nested lists take grows with the square."""
    line = event.start_mark.line + 1 if event.start_mark else 1
    if isinstance(event, yaml.AliasEvent):
        raise BadYaml(f"line {line}: aliases (*{str(event.anchor)[:20]}) are not read here")
    if depth > MAX_DEPTH:
        raise BadYaml(f"line {line}: nested too deep")


@contextmanager
def yaml_faults() -> Iterator[None]:
    """Tell every way in which the library cannot read a text as one.

    Raises:
        BadYaml: It cannot.
    """
    try:
        yield
    except BadYaml:
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadYaml(f"line {line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        # Values such as dates are made while reading, and may be none.
        raise BadYaml(f"line 1: not valid YAML: {str(error)[:100]!a}") from None
    except RecursionError:
        raise BadYaml("line 1: not valid YAML: nested too deep, or containing itself") from None


def _lines(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        yield from _mapping_lines(node, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(item, (*path, index))


def _mapping_lines(node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    refuse_second_keys(node, path)
    for key, value in node.value:
        yield (*path, key.value), key.start_mark.line + 1
        yield from _lines(value, (*path, key.value))


def refuse_second_keys(node: yaml.Node, path: KeyPath = ()) -> None:
    """Look through the keys of one mapping: YAML parsers disagree on which of two equal ones counts.

    Raises:
        BadYaml: A key is given twice.
    """
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        # Keys that are no texts cannot be read at all.
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            line = key.start_mark.line + 1
            raise BadYaml(f"line {line}: the key {'.'.join(map(str, (*path, key.value)))} is given twice")
        seen.add(key.value)
