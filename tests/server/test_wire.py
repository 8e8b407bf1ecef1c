"""The rest of the wire: health, reflection, deadlines, cancellation."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from signer.server.rpc import SERVICE
from tests.cluster.poll import until
from tests.goclient.run import load
from tests.server import cas
from tests.server.conftest import NewServer
from tests.server.pairs import write_pair
from tests.server.running import URI, Running
from tests.server.scripted import script_of
from tests.server.test_drain import NOT_SERVING, SERVING, health
from tests.server.verdicts import Marks, only_line, still_serves

LIMIT = 10.0


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_by_name(developing: Running, service: str) -> None:
    with developing.client() as client:
        assert health(client, service) == SERVING


def test_health_of_an_unknown_service(developing: Running) -> None:
    with developing.client() as client, pytest.raises(grpc.RpcError) as caught:
        health(client, "elsewhere")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_follows_readiness(new_server: NewServer, tmp_path: Path) -> None:
    """A replica that cannot sign yet must not be told to be serving: /readyz says 503, and so must gRPC's health."""
    server = new_server(tmp_path / "ca", ready=False, serving=write_pair(tmp_path / "serving"))
    until(lambda: server.server.listener.port, deadline=LIMIT, what="the listener")
    with server.client((tmp_path / "serving" / "root.pem").read_bytes()) as client:
        assert server.http("/readyz")[0] == 503
        assert (health(client), health(client, SERVICE)) == (NOT_SERVING, NOT_SERVING)
        cas.init(tmp_path / "ca")
        server.wait_ready()
        until(lambda: health(client, SERVICE) == SERVING, deadline=2.0, what="health to follow")


def test_health_is_watched(developing: Running) -> None:
    """Agents keep a stream open on it, which their keepalive needs."""
    with developing.client() as client:
        stream = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)
        assert next(iter(stream)).status == SERVING
        stream.cancel()


def test_reflection_lists_the_service(developing: Running) -> None:
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    with developing.client() as client:
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        (answer,) = stub.ServerReflectionInfo(iter(asked), timeout=LIMIT)
    names = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_reflection_describes_the_service(developing: Running) -> None:
    """What `grpcurl describe` needs."""
    asked = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)]
    with developing.client() as client:
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        (answer,) = stub.ServerReflectionInfo(iter(asked), timeout=LIMIT)
    assert b"CreateCertificate" in b"".join(answer.file_descriptor_response.file_descriptor_proto)


def test_the_clients_shorter_deadline_counts(new_server: NewServer, scripted_type: str) -> None:
    server = new_server(backends={"local": {"type": scripted_type}})
    script = script_of(server)
    script.hang()
    marks = Marks.of(server)
    with server.client() as client:
        reply = client.send(server.good(), timeout=1.0)
        assert reply.code == "DEADLINE_EXCEEDED"
        assert "the issuer did not answer in time (request " in reply.text, "the server's own answer came in time"
        line = only_line(server, marks)
        assert (line["error"], line["stage"]) == ("BackendTimeout", "backend")
        assert line["seconds"] < 1.0
        script.before = None
        still_serves(server, client)


def test_a_cancelled_call_is_recorded(new_server: NewServer, scripted_type: str) -> None:
    """The backend's work is cancelled with it."""
    server = new_server(backends={"local": {"type": scripted_type}})
    script = script_of(server)
    script.hang()
    mark = server.audit.size()
    with server.client() as client:
        call = client.begin(server.good())
        until(lambda: script.begun == 1, deadline=LIMIT, what="the call to be with the backend")
        call.cancel()
        line = server.audit.await_line(lambda line: True, mark)
        assert (line["decision"], line["code"], line["error"]) == ("refused", "CANCELLED", "CancelledError")
        assert line["reason"] == "the caller went away"
        assert script.cancelled == 1
        script.before = None
        still_serves(server, client)


def test_more_calls_than_a_connections_streams(
    developing: Running, roots_file: Path, token_file: Callable[[Running], Path]
) -> None:
    """As through a load balancer that shares connections: the client holds back what is too much, and none fails."""
    result = load(
        *("-addr", developing.address, "-root", roots_file, "-token-file", token_file(developing), "-san", URI),
        *("-conns", "1", "-concurrency", "200", "-n", "1000", "-csrs", "100"),
    )
    assert (result["ok"], result["errors"]) == (1000, {}), result["first_error"]


def test_the_metrics_count_what_was_done(new_server: NewServer) -> None:
    server = new_server()
    with server.client() as client:
        client.send(server.good())
        client.send(replace(server.good(), csr="x"))
        client.send(replace(server.good(), authorization=()))
    text = server.http("/metrics")[1]
    for line in (
        "citadel_server_csr_count 3.0",
        "citadel_server_success_cert_issuance_count 1.0",
        "citadel_server_csr_parsing_err_count 1.0",
        "citadel_server_authentication_failure_count 1.0",
    ):
        assert line in text


def test_a_port_scan_does_no_harm(developing: Running) -> None:
    """Connections that never speak TLS, or stop in the middle of it."""
    host, _, port = developing.address.rpartition(":")
    for text in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 1000):
        with socket.create_connection((host, int(port)), timeout=LIMIT) as plain:
            plain.sendall(text)
    with developing.client() as client:
        still_serves(developing, client)
