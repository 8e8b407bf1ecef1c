"""What the verbs share: exit codes, output, the options for finding a configuration."""

import argparse
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backends as registry
from signer.config.complaints import BadConfig
from signer.config.load import Loaded, load

OK, REFUSED, USAGE, UNAVAILABLE = 0, 1, 2, 3
EXIT_CODES = "0 done, 1 refused or failed, 2 wrong usage or configuration, 3 unavailable (try again)"


class Failure(Exception):
    """Ends a verb with a message for people and an exit code."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        super().__init__(text)
        self.code = code


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add ``-o``."""
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text for people (default)")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the YAML configuration; ISTIO_SIGNER_... variables override its keys",
    )


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Make an argparse type: a whole number within bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"give a whole number from {least} to {most}; this is {text[:40]!r}")
        return int(text)

    return parse


def number_between(least: float, most: float) -> Callable[[str], float]:
    """Make an argparse type: a number between two, neither of them included."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        # NaN is between no two numbers.
        if not least < value < most:
            raise argparse.ArgumentTypeError(f"give a number over {least:g} and under {most:g}; this is {text[:40]!r}")
        return value

    return parse


def print_json(data: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(data, indent=2, default=str))


def settings_of(type_name: str) -> type[Any]:
    """Find the settings class of a backend type.

    Raises:
        LookupError: There is no such type.
    """
    return registry.spec(type_name).settings


def load_config(path: Path | None, base: dict[str, Any] | None = None) -> Loaded:
    """Load a configuration or end the verb with all complaints.

    Raises:
        Failure: It cannot be used.
    """
    try:
        return load(path, settings_of, base=base)
    except BadConfig as error:
        raise Failure(f"the configuration cannot be used:\n{error}", USAGE) from None


def read_text(path: Path, what: str) -> str:
    """Read a small text file given on the command line.

    Raises:
        Failure: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{what} {path}: cannot be read: {getattr(error, 'strerror', 'not text')}", USAGE) from None
