"""The real API server stopped, killed and back again under a server that never restarts."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Kube
from tests.cluster.fixtures import NewCluster
from tests.cluster.poll import until
from tests.server import cas
from tests.server.loop import LoopThread
from tests.server.review import Review, reviewing
from tests.server.running import configuration, running
from tests.server.sides import Side
from tests.server.verdicts import Marks, check_refusal, refused, still_serves

DEADLINE = 2.0
"""Seconds that the server gives a request here, and that a caller waits at most."""


def test_paused_killed_and_restarted(loops: LoopThread, new_cluster: NewCluster, tmp_path: Path) -> None:
    cluster = new_cluster()
    with Kube.load(cluster.kubeconfig) as kube:
        review = Review(kube, cluster)
        limits: dict[str, Any] = {"authentication": {"timeout": "1500ms"}, "limits": {"deadline": f"{DEADLINE}s"}}
        with reviewing(loops, tmp_path / "signer", review, **limits) as server, server.client() as client:
            still_serves(server, client)
            calls = [server.good() for _ in range(3)]

            cluster.pause()
            marks = Marks.of(server)
            reply = client.send(calls[0])
            check_refusal(server, marks, calls[0], reply, "AuthenticationUnavailable", "TokenReview: no ")
            assert reply.seconds < DEADLINE + 1.0
            cluster.resume()
            assert client.send(calls[0]).code == "OK", "the same token is good again"

            cluster.kill()
            line = refused(server, client, calls[1], "AuthenticationUnavailable", "TokenReview: no connection")
            assert line["seconds"] < DEADLINE + 1.0
            assert server.http("/readyz")[0] == 200, "an outage elsewhere takes no replica out of service"
            cluster.start()
            assert client.send(calls[1]).code == "OK"
            still_serves(server, client)


@pytest.mark.timeout(90)
def test_clusters_of_remote_secrets_may_come(loops: LoopThread, new_cluster: NewCluster, tmp_path: Path) -> None:
    """While the secrets cannot be read, nobody knows which clusters there are: their callers are told to come back."""
    cluster = new_cluster()
    with Kube.load(cluster.kubeconfig) as kube:
        near = Side("near", kube, cluster)
        config = configuration(
            cas.init(tmp_path / "ca"),
            clusters=[{"id": near.name, "kubeconfig": str(near.kubeconfig(tmp_path))}],
            remote_secrets={"enabled": True},
            authentication={"timeout": "1500ms"},
        )
        token = near.token("cart")
        cluster.kill()
        with running(loops, tmp_path, config, mint=lambda: token) as server, server.client() as client:
            call = near.call(token, cluster="far")
            refused(
                server, client, call, "AuthenticationUnavailable", "unknown cluster 'far': the remote secrets are not"
            )
            cluster.start()
            until(lambda: client.send(call).code == "UNAUTHENTICATED", deadline=30.0, what="all to be known")
            refused(server, client, call, "AuthenticationFailed", "unknown cluster 'far'")
            cluster.kill()
            until(lambda: client.send(call).code == "UNAVAILABLE", deadline=15.0, what="the watch to be found broken")


def test_the_slower_deadline_is_the_servers(loops: LoopThread, new_cluster: NewCluster, tmp_path: Path) -> None:
    """The request's deadline strikes before that of the TokenReview: still unavailable, never unauthenticated."""
    cluster = new_cluster()
    with Kube.load(cluster.kubeconfig) as kube:
        review = Review(kube, cluster)
        limits: dict[str, Any] = {"authentication": {"timeout": "30s"}, "limits": {"deadline": "1s"}}
        with reviewing(loops, tmp_path / "signer", review, **limits) as server, server.client() as client:
            call = server.good()
            cluster.pause()
            refused(server, client, call, "AuthenticationUnavailable", "s passed in stage authn")
            cluster.resume()
            still_serves(server, client)
