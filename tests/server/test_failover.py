"""Several backends behind one route, over the wire: who signs when one is down, slow, wrong or full."""

import threading
from pathlib import Path
from typing import Any

import pytest

from signer.core.errors import BackendRefused, BackendUnavailable
from tests.cluster.poll import until
from tests.server import cas
from tests.server.calls import Reply
from tests.server.conftest import NewServer
from tests.server.running import Running
from tests.server.scripted import Script, script_of
from tests.server.traffic import traffic
from tests.server.verdicts import Marks, check_success, only_line

LIMIT = 15.0


class Pair:
    """A server whose route leads to ``one``, then to ``two``."""

    def __init__(self, new_server: NewServer, place: Path, scripted_type: str, **guard: Any) -> None:
        directory = cas.init(place / "root")
        one = {"type": scripted_type, "directory": str(directory)}
        self.server = new_server(
            directory,
            # "local" signs the server's own certificate alone.
            backends={"one": {**one, "guard": guard}, "two": one},
            routes=[{"name": "pair", "backends": ["one", "two"]}],
            serving={"backend": "local"},
        )

    @property
    def one(self) -> Script:
        """What happens at the first."""
        return script_of(self.server, "one")

    @property
    def two(self) -> Script:
        """What happens at the second."""
        return script_of(self.server, "two")

    def line(self) -> dict[str, Any]:
        """Make a good call that must succeed; its audit line."""
        marks, call = Marks.of(self.server), self.server.good()
        return check_success(self.server, marks, call, self.server.send(call))


def metric(server: Running, name: str) -> float:
    """A sample by its name and labels; 0 where it is not there yet."""
    lines = [line for line in server.http("/metrics")[1].splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


@pytest.fixture
def pair(new_server: NewServer, tmp_path: Path, scripted_type: str) -> Pair:
    return Pair(new_server, tmp_path, scripted_type, breaker_failures=2, breaker_open="1s", timeout="300ms")


def test_one_is_down(pair: Pair) -> None:
    """The other one signs; then the first is left alone, shown as ill, tried again, and used again."""
    pair.one.error = BackendUnavailable("sealed")
    line = pair.line()
    assert (line["backend"], line["passed_over"]) == ("two", ["one: BackendUnavailable: sealed"])
    assert pair.one.begun == 2
    assert "the breaker of backend one is open: sealed" in pair.line()["passed_over"][0]
    assert pair.one.begun == 2
    status, text = pair.server.http("/readyz?verbose")
    assert status == 200
    assert "[!] breaker of one: open, ill for 0 s: sealed" in text
    assert metric(pair.server, 'istio_signer_breaker_state{backend="one"}') == 2
    assert metric(pair.server, 'istio_signer_failovers_total{from="one",to="two"}') == 2
    assert metric(pair.server, 'istio_signer_backend_attempts_total{backend="one",result="unavailable"}') == 2
    assert metric(pair.server, 'istio_signer_backend_attempts_total{backend="one",result="open"}') == 1
    pair.one.error = None
    until(lambda: pair.line()["backend"] == "one", deadline=LIMIT, what="the first one to be used again")
    assert metric(pair.server, 'istio_signer_breaker_state{backend="one"}') == 0
    assert "breaker of" not in pair.server.http("/readyz?verbose")[1]


def test_one_hangs(pair: Pair) -> None:
    """It costs its own time-out, twice; then nothing, until the trial."""
    pair.one.hang()
    lines = [pair.line() for _ in range(3)]
    assert [line["backend"] for line in lines] == ["two"] * 3
    assert [line["seconds"] > 0.29 for line in lines] == [True, True, False]
    assert "no answer within 0.30 s" in lines[0]["passed_over"][0]
    assert (pair.one.begun, pair.one.cancelled) == (2, 2)


def test_one_has_a_bug(pair: Pair) -> None:
    """It does not deny service, and it is not hidden either."""
    pair.one.error = ZeroDivisionError("s3cret")
    assert pair.line()["backend"] == "two"
    logged = pair.server.log.await_message("backend one: bug: ZeroDivisionError; the next one is asked")
    assert "scripted.py" in str(logged)
    assert "s3cret" not in pair.server.log.text()


def test_one_refuses(pair: Pair) -> None:
    """That is an answer, however often it comes."""
    pair.one.error = BackendRefused("no")
    for _ in range(4):
        assert pair.server.send(pair.server.good()).code == "FAILED_PRECONDITION"
    assert (pair.one.begun, pair.two.begun) == (4, 0)


def test_both_are_down(pair: Pair) -> None:
    """Told as an outage at once; the server stays ready."""
    pair.one.error, pair.two.error = BackendUnavailable("sealed"), BackendUnavailable("gone")
    marks = Marks.of(pair.server)
    assert pair.server.send(pair.server.good()).code == "UNAVAILABLE"
    line = only_line(pair.server, marks)
    assert (line["reason"], line["backend"]) == ("gone", "two")
    assert pair.server.http("/readyz")[0] == 200


def test_one_goes_and_comes_under_load(pair: Pair) -> None:
    """No call fails."""
    with traffic(pair.server.client, pair.server.good):
        pair.one.error = BackendUnavailable("sealed")
        begun = pair.two.begun
        until(lambda: pair.two.begun > begun + 20, deadline=LIMIT, what="the second one to take over")
        pair.one.error = None
        begun = pair.one.begun
        until(lambda: pair.one.begun > begun + 20, deadline=LIMIT, what="the first one to be used again")


def test_a_full_backend(new_server: NewServer, tmp_path: Path, scripted_type: str) -> None:
    """Alone, its cap is told as such; with another behind it, that one signs."""
    full = {"type": scripted_type, "guard": {"concurrency": 1, "waiting": 0}}
    alone = new_server(backends={"local": full})
    assert _second_while_first_hangs(alone, script_of(alone)).code == "RESOURCE_EXHAUSTED"
    assert metric(alone, 'istio_signer_backend_attempts_total{backend="local",result="busy"}') == 1
    pair = Pair(new_server, tmp_path / "pair", scripted_type, concurrency=1, waiting=0)
    assert _second_while_first_hangs(pair.server, pair.one).code == "OK"


def _second_while_first_hangs(server: Running, script: Script) -> Reply:
    gate = threading.Event()

    async def held() -> None:
        await server.loops.loop.run_in_executor(None, gate.wait, 10.0)

    script.before = held
    with server.client() as client:
        first = client.begin(server.good())
        until(lambda: script.begun == 1, deadline=LIMIT, what="the first call at the backend")
        second = client.send(server.good())
        gate.set()
        assert len(first.result().cert_chain) >= 2
    return second


def test_a_rate(new_server: NewServer, scripted_type: str) -> None:
    """Two at once, one each ten seconds after."""
    server = new_server(backends={"local": {"type": scripted_type, "guard": {"rate": 0.1, "burst": 2}}})
    codes = [server.send(server.good()).code for _ in range(3)]
    assert codes == ["OK", "OK", "RESOURCE_EXHAUSTED"]
    assert server.audit.await_line(lambda line: "its rate of 0.1 calls a second is used up" in line.get("reason", ""))


def test_callers_short_deadlines_open_no_breaker(pair: Pair) -> None:
    """One that gives a moment, again and again, must not take the backend from the others."""
    pair.one.pause(5.0)
    pair.two.pause(5.0)
    with pair.server.client() as client:
        for _ in range(4):
            assert client.send(pair.server.good(), timeout=0.3).code == "DEADLINE_EXCEEDED"
    assert pair.one.begun == 4
    pair.one.before = None
    assert pair.line()["backend"] == "one"
