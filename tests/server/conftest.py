"""Servers for the tests here: one with development tokens for all, others made at need."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

import backends
from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.loop import LoopThread
from tests.server.review import Review, reviewing
from tests.server.running import Running, configuration, running
from tests.server.sides import Side, second

OUR_THREADS = ("server-loop", "lines-", "traffic-")


@pytest.fixture(scope="package")
def loops() -> Iterator[LoopThread]:
    """The loop of all servers."""
    with LoopThread() as thread:
        yield thread
        thread.assert_idle("")
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith(OUR_THREADS)]
    assert not left, f"threads left over: {left}"


@pytest.fixture(scope="package")
def developing(loops: LoopThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for all tests that leave it as it is: development tokens, a root with an intermediate."""
    place = tmp_path_factory.mktemp("developing")
    with running(loops, place, configuration(cas.init(place / "ca"))) as at_work:
        yield at_work


class NewServer(Protocol):
    """Starts one more server, with development tokens; stopped at the end of the test.

    Without a ``directory`` it gets a CA of its own; keywords are configuration over the defaults.
    """

    def __call__(self, directory: Path | None = None, *, ready: bool = True, **over: Any) -> Running: ...


@pytest.fixture
def new_server(loops: LoopThread, tmp_path: Path) -> Iterator[NewServer]:
    """See `NewServer`."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(directory: Path | None = None, *, ready: bool = True, **over: Any) -> Running:
            place = tmp_path / f"server-{next(count)}"
            config = configuration(directory or cas.init(place / "ca"), **over)
            return stack.enter_context(running(loops, place, config, ready=ready))

        yield start


@pytest.fixture
def token_file(tmp_path: Path) -> Callable[[Running], Path]:
    """Writes a good token of a server to a file, for the Go client."""

    def write(server: Running) -> Path:
        path = tmp_path / "token"
        path.write_text(server.mint())
        return path

    return write


@pytest.fixture(scope="package")
def review(kube: Kube, cluster: Cluster) -> Review:
    """Tokens of the session's API server."""
    return Review(kube, cluster)


@pytest.fixture(scope="package")
def reviewed(loops: LoopThread, review: Review, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for all tests that leave it as it is, which asks the session's API server."""
    with reviewing(loops, tmp_path_factory.mktemp("reviewed"), review) as at_work:
        yield at_work


@pytest.fixture(scope="package")
def roots_file(developing: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The roots of ``developing``, for the Go client."""
    path = tmp_path_factory.mktemp("roots") / "root-cert.pem"
    path.write_bytes(developing.roots())
    return path


@pytest.fixture
def scripted_type(monkeypatch: pytest.MonkeyPatch) -> str:
    """The type of `tests.server.scripted`, known to the registry while the test runs."""
    monkeypatch.setitem(backends.BUILT_IN, "scripted", "tests.server.scripted:SPEC")
    return "scripted"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Another cluster, of one test module: started only where a test asks for it."""
    with second(tmp_path_factory.mktemp("far")) as side:
        yield side
