"""What is shown when somebody asks, of clusters that come and go."""

from signer.app.callers import Callers
from signer.app.one_cluster import Followed
from signer.app.showing import Showing
from signer.authn.clusters import ByCluster
from signer.issue.admission import Admission
from signer.kube.pods import Pods
from signer.observe.health import Health
from signer.observe.metrics import Metrics
from signer.trust.bundle import LiveBundle
from tests.support.clock import FakeClock
from tests.unit.kube.test_collection import FakeApi as FakeObjects
from tests.unit.kube.test_collection import manifest


def test_the_gauges_of_a_cluster_that_is_gone_vanish() -> None:
    """Its last word would look like a watch that works."""
    health, followed = Health(()), list[Followed]()
    callers = Callers(ByCluster("a", {}), followed=lambda: followed)
    shown = Showing(Metrics(), health, LiveBundle([], health, FakeClock()), callers, None, Admission(1, 1, 1.0))
    pods = Pods(FakeObjects())  # type: ignore[arg-type]
    pods.changed("ADDED", manifest())
    followed += [Followed("a", "pods", pods), Followed("far", "pods", pods)]
    assert _shown(shown) == ["a", "far"]
    followed.pop()
    assert _shown(shown) == ["a"]


def test_remote_clusters_that_are_gone_vanish() -> None:
    health, ready = Health(()), {"far": True, "east": False}
    callers = Callers(ByCluster("a", {}), remotes=lambda: ready)
    shown = Showing(Metrics(), health, LiveBundle([], health, FakeClock()), callers, None, Admission(1, 1, 1.0))
    name = "istio_signer_remote_cluster_ready"
    assert _lines(shown, name) == [f'{name}{{cluster="far"}} 1.0', f'{name}{{cluster="east"}} 0.0']
    del ready["east"]
    assert _lines(shown, name) == [f'{name}{{cluster="far"}} 1.0']


def _lines(showing: Showing, start: str) -> list[str]:
    return [line for line in showing.scrape("")[0].decode().splitlines() if line.startswith(start)]


def _shown(showing: Showing) -> list[str]:
    """The clusters of both gauges, after a scrape."""
    lines = _lines(showing, "istio_signer_watch_")
    objects, stale = ([line.split('"')[1] for line in lines if name in line] for name in ("_objects{", "_stale_"))
    assert objects == stale
    assert all(line.endswith(" 1.0") for line in lines if "_objects{" in line)
    return objects
