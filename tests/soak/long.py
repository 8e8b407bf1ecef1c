"""The play with certificates of a minute, for about an hour: `make soak`. Not collected by a plain test run.

`SOAK_ROUNDS` is the number of root rotations, of about ten minutes each.
"""

import os
from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.soak.play import play
from tests.soak.scene import Pace

LONG = Pace(leaf=60, serving=120, intermediate=300, calm=60)


@pytest.mark.timeout(3 * 3600)
def test_soak(kube: Kube, tmp_path: Path) -> None:
    rounds = int(os.environ.get("SOAK_ROUNDS", "5"))
    seen = play(kube, tmp_path, LONG, rounds)
    print(f"\n{seen}")
    assert seen.failures == []
    assert seen.renewal_failures == []
    assert seen.roots == [1, *[2, 1] * rounds]
