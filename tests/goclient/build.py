"""The Go client's program."""

from pathlib import Path

from tests.gobuild import build


def binary() -> Path:
    """Give the program, built from this folder when its sources have changed.

    Raises:
        GoBuildError: Go is missing or too old, or the build failed.
    """
    return build(Path(__file__).resolve().parent, "goclient")
