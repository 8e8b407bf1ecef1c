"""Every numbered point of the contract's parts 1 to 5 has a test named after it, or a reason why not."""

import re
from pathlib import Path

import pytest

POINTS = {1: 11, 2: 10, 3: 9, 4: 7, 5: 11}
"""Part -> its last point."""
NOT_OURS = {
    "4.3": "back-off and streams above a call are the agent's own; what starts them is a refusal (4.1, 4.5)",
    "4.4": "how ztunnel and agentgateway wait is theirs; that a hiccup is retried inside: test_api_server_faults",
    "5.4": "which roots verify istiod's XDS is the operator's choice of files",
}
ALL = [f"{part}.{point}" for part, last in POINTS.items() for point in range(1, last + 1)]


def named_points() -> set[str]:
    """The points that tests of the five files are named after."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_contract_[1-5]_*.py"):
        names = re.findall(r"^def test_(\d)_(\d+)_", path.read_text(), re.MULTILINE)
        found |= {f"{part}.{point}" for part, point in names}
    return found


@pytest.mark.parametrize("number", ALL)
def test_the_point_is_tested_or_explained(number: str) -> None:
    assert (number in named_points()) is not (number in NOT_OURS)


def test_no_test_is_named_after_a_point_that_is_not_there() -> None:
    assert named_points() <= set(ALL)
    assert set(NOT_OURS) <= set(ALL)


def test_every_docstring_quotes_its_point() -> None:
    for path in Path(__file__).parent.glob("test_contract_[1-5]_*.py"):
        for part, point, body in re.findall(
            r"^def test_(\d)_(\d+)_[^)]*\)[^:]*:\n\s+\"\"\"([^\n]*)", path.read_text(), re.MULTILINE
        ):
            assert body.startswith(f"{part}.{point}: "), f"{path.name}: {body}"
