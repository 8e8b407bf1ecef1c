"""How a server ends: readiness first, then the connections, and no call that it took is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from signer.server.rpc import SERVICE
from tests.cluster.poll import until
from tests.goclient.test_goclient import RETRIED
from tests.server import cas
from tests.server.calls import Client, Reply
from tests.server.conftest import NewServer
from tests.server.running import Running
from tests.server.scripted import script_of
from tests.server.traffic import traffic

LIMIT = 10.0
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def health(client: Client, service: str = "") -> int:
    """What gRPC's health service says."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)


def test_calls_in_flight_finish(new_server: NewServer, scripted_type: str) -> None:
    server = new_server(backends={"local": {"type": scripted_type}}, shutdown={"delay": "0s", "grace": "5s"})
    script = script_of(server)
    script.pause(1.0)
    with server.client() as client, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(client.send, server.good()) for _ in range(8)]
        until(lambda: script.begun == 8, deadline=LIMIT, what="all calls to be with the backend")
        server.begin_stop()
        assert [call.result(LIMIT).code for call in calls] == ["OK"] * 8
    server.stop()


def test_what_outlasts_the_grace_is_cut(new_server: NewServer, scripted_type: str) -> None:
    """A backend that hangs does not hold the end up for longer than the grace."""
    server = new_server(backends={"local": {"type": scripted_type}}, shutdown={"delay": "0s", "grace": "500ms"})
    script = script_of(server)
    script.hang()
    with server.client() as client, ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.send, server.good())
        until(lambda: script.begun == 1, deadline=LIMIT, what="the call to be with the backend")
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 5.0
        assert call.result(LIMIT).code in ("UNAVAILABLE", "CANCELLED")
    assert script.cancelled == 1
    assert server.audit.await_line(lambda line: True)["code"] == "CANCELLED"


def test_readiness_goes_first(new_server: NewServer) -> None:
    """Load balancers get time to notice, and until then every call is still served."""
    server = new_server(shutdown={"delay": "1500ms", "grace": "2s"})
    with server.client() as client:
        assert (server.http("/readyz"), health(client), health(client, SERVICE)) == ((200, "ok\n"), SERVING, SERVING)
        server.begin_stop()
        until(lambda: server.http("/readyz") == (503, "pending: draining\n"), deadline=1.0, what="being unready")
        assert (health(client), health(client, SERVICE)) == (NOT_SERVING, NOT_SERVING)
        assert client.send(server.good()).code == "OK"
        assert server.send(server.good()).code == "OK", "a new connection"
        assert server.http("/livez") == (200, "ok\n")
    server.stop()
    with pytest.raises(OSError, match="refused"):
        server.http("/livez")


def _retry_elsewhere(servers: list[Running], clients: list[Client]) -> Reply:
    """As behind a load balancer: what the first one cannot take goes to the next, by the agent's law of retries."""
    for server, client in zip(servers, clients, strict=True):
        reply = client.send(server.good())
        if reply.code not in RETRIED:
            return reply
    return reply


def test_a_second_instance_takes_over(new_server: NewServer, tmp_path: Path) -> None:
    """One of two replicas ends under constant calls; with the one retry that agents do, none fails."""
    directory = cas.init(tmp_path / "ca")
    servers = [new_server(directory), new_server(directory)]
    with servers[0].client() as one, servers[1].client() as two, ThreadPoolExecutor(4) as threads:
        assert [one.send(servers[0].good()).code, two.send(servers[1].good()).code] == ["OK", "OK"]
        calls = [threads.submit(_retry_elsewhere, servers, [one, two]) for _ in range(50)]
        servers[0].begin_stop()
        calls += [threads.submit(_retry_elsewhere, servers, [one, two]) for _ in range(50)]
        assert [call.result(LIMIT).code for call in calls] == ["OK"] * 100
    servers[0].stop()
    assert servers[1].send(servers[1].good()).code == "OK"


def test_connections_end_by_age_and_no_call_fails(new_server: NewServer) -> None:
    """Contract's wire: maximum connection age with GOAWAY; clients dial again and lose nothing."""
    server = new_server(limits={"max_connection_age": "1s"})
    with traffic(server.client, server.good):
        until(lambda: _peers_of_kept(server) >= 3, deadline=LIMIT, what="kept clients to have dialled again")


def _peers_of_kept(server: Running) -> int:
    """Connections with more than one call: those of clients that keep them."""
    peers = [line["peer"] for line in server.audit.since(0)]
    return len({peer for peer in peers if peers.count(peer) > 5}) - 1


def test_a_call_under_way_outlives_its_connections_age(new_server: NewServer, scripted_type: str) -> None:
    server = new_server(backends={"local": {"type": scripted_type}}, limits={"max_connection_age": "500ms"})
    script_of(server).pause(2.0)
    with server.client() as client:
        assert client.send(server.good()).code == "OK"


def test_stop_before_it_is_ready(new_server: NewServer, tmp_path: Path) -> None:
    """Without a CA it never listens; it must end all the same."""
    server = new_server(tmp_path / "none", ready=False)
    until(lambda: server.server.admin.port, deadline=LIMIT, what="the admin port")
    start = time.monotonic()
    server.stop()
    assert time.monotonic() - start < 5.0


def test_the_code_of_a_server_that_is_gone(new_server: NewServer) -> None:
    server = new_server()
    with server.client() as client:
        assert client.send(server.good()).code == "OK"
        call = server.good()
        server.stop()
        assert client.send(call).code == grpc.StatusCode.UNAVAILABLE.name
