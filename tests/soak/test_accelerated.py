"""The play, with certificates of seconds."""

from pathlib import Path

import pytest

from tests.cluster.api import Kube
from tests.soak.play import play
from tests.soak.scene import Pace

# An intermediate lives for a minute at least, and a root rotation waits for the last leaf of the last one.
QUICK = Pace(leaf=8, serving=10, intermediate=60, calm=2)


@pytest.mark.timeout(300)
def test_nothing_fails_while_everything_rotates(kube: Kube, tmp_path: Path) -> None:
    seen = play(kube, tmp_path, QUICK)
    assert seen.failures == []
    assert seen.renewal_failures == []
    assert seen.sent > 1000
    assert seen.renewals > 20
    assert seen.issuers >= 3, "intermediates have rotated beside the root"
    assert seen.serving >= 3, "serving certificates have been renewed"
    assert seen.roots == [1, 2, 1]
