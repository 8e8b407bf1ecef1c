"""Reads the deny list's file: YAML, or JSON, which is a hundred times faster to read where the list is long."""

import json
from typing import Any

import yaml

from signer.config.positions import BadYaml, refuse_second_keys, yaml_faults
from signer.core.deny import BadDenyList, DenyList


def parse_deny_list(data: bytes) -> DenyList:
    """Read the contents of a deny file.

    Raises:
        BadDenyList: They are no UTF-8 text, no YAML, give a key twice, or an entry is wrong.
    """
    try:
        return DenyList.parse(_decoded(data.decode("utf-8")))
    except UnicodeDecodeError:
        raise BadDenyList("not UTF-8 text") from None
    except BadYaml as error:
        raise BadDenyList(str(error)) from None


def _decoded(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        # All JSON is YAML: what is wrong with it is told from there, with its line.
        return _from_yaml(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _from_yaml(text: str) -> Any:
    """Composed once for both, since that is what takes long."""
    with yaml_faults():
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            for entry in node.value if isinstance(node, yaml.SequenceNode) else ():
                refuse_second_keys(entry)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
