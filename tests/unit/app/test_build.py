"""Objects from the configuration."""

from pathlib import Path

import pytest

from signer.app import callers
from signer.app.build import backend_context
from signer.app.callers import build_callers
from signer.app.routing import build_router
from signer.config.clusters import Cluster
from signer.config.model import BackendSection, Config, RouteSection, Serving
from signer.core.events import NoMeter
from signer.core.types import ServerNames
from signer.issue.guard import Guarded, GuardPolicy
from signer.kube.no_cluster import NoCluster
from tests.support.clock import FakeClock
from tests.support.fakes import FakeBackend

_CONFIG = Config(backends={"one": BackendSection()})


class FakeApi:
    """A connection that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.names: list[str] = []

    async def close(self) -> None:
        """Note it."""
        self.closed += 1


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """What connecting gives, except for a kubeconfig that is named ``broken``."""
    made = FakeApi()

    async def connect(kubeconfig: Path | None, context: str | None, name: str) -> FakeApi:
        made.names.append(name)
        if kubeconfig is not None:
            raise NoCluster("broken")
        return made

    monkeypatch.setattr(callers, "connect", connect)
    return made


NAMES = ServerNames(("istio-signer.istio-system.svc",))
TWO = {
    "backends": {"one": BackendSection(), "two": BackendSection()},
    "routes": [RouteSection(backends=["two", "one"])],
}


@pytest.mark.parametrize(
    ("serving", "signer"),
    [
        (Serving(), "two"),
        (Serving(backend="one"), "one"),
        (Serving(certificate_file=Path("/c"), key_file=Path("/k")), ""),
    ],
    ids=["first of the first route", "named", "files"],
)
def test_a_backend_is_told_the_serving_names_that_it_signs(serving: Serving, signer: str) -> None:
    """And no other backend is: they are for its advice."""
    config = Config.model_validate({**TWO, "serving": serving})
    told = {name: backend_context(config, name, FakeClock(), NoMeter()).serving for name in ("one", "two")}
    assert told == {name: NAMES if name == signer else ServerNames() for name in told}


def test_a_route_to_a_new_backend() -> None:
    """A running server cannot start one; it says what can."""
    routed = _CONFIG.model_copy(update={"routes": [RouteSection(backends=["two"])]})
    with pytest.raises(LookupError) as refusal:
        build_router(routed, {"one": Guarded(FakeBackend("one"), GuardPolicy(), FakeClock())})
    assert str(refusal.value) == "backend 'two' is new: restart to add it"


async def test_callers_are_closed_at_the_end(api: FakeApi) -> None:
    """And not before."""
    built = await build_callers(_CONFIG, FakeClock(), lambda _: None, None)
    assert api.closed == 0
    for close in built.closers:
        await close()
    assert api.closed == 1


async def test_what_was_opened_is_closed_where_another_cluster_fails(api: FakeApi) -> None:
    """Nobody else could."""
    two = [Cluster(id="a"), Cluster(id="b", kubeconfig=Path("broken"))]
    with pytest.raises(NoCluster, match=r"clusters\.1\.kubeconfig: broken"):
        await build_callers(_CONFIG.model_copy(update={"clusters": two}), FakeClock(), lambda _: None, None)
    assert (api.closed, api.names) == (1, ["a", "b"])
