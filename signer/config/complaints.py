"""Complaints about a configuration: where, what is wrong, what to do."""

from dataclasses import dataclass
from pathlib import Path

from signer.config.positions import KeyPath


class BadConfig(ValueError):
    """The configuration cannot be used; one complaint a line."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


# The validation library's words, in ours.
_PLAINER = {
    "Extra inputs are not permitted": "no such key; docs/configuration.md lists those that exist",
    "Field required": "this key is needed",
}


@dataclass(frozen=True, slots=True)
class Where:
    """The file that values came from, and the line of each of its keys."""

    path: Path | None
    lines: dict[KeyPath, int]

    def complain(self, location: tuple[str | int, ...], text: str) -> str:
        """``FILE:LINE: key: text``, with the line of the nearest key that the file has."""
        key = ".".join(map(str, location)) or "configuration"
        text = text.removeprefix("Value error, ")
        nearest = next((location[:n] for n in range(len(location), 0, -1) if location[:n] in self.lines), None)
        line = f":{self.lines[nearest]}" if nearest else ""
        return f"{self.path or 'environment'}{line}: {key}: {_PLAINER.get(text, text)}"
