"""Routes by the labels of callers' pods, with the real API server and the rights that this takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signer.config.load import Loaded
from tests.cluster import rbac
from tests.corpus.build import good_csr
from tests.server import cas
from tests.server.calls import Call, bearer
from tests.server.loop import LoopThread
from tests.server.review import Review
from tests.server.running import NAMESPACE, Running, configuration, loaded, running
from tests.server.verdicts import Marks, check_success, only_line

GET_PODS: dict[str, Any] = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
ROUTES = [
    {"name": "gold", "match": {"pod_labels": {"tier": "gold*"}}, "backends": ["local"], "profile": {"max_ttl": "10m"}},
    {"name": "rest", "backends": ["local"]},
]


def _config(place: Path, kubeconfig: Path, **over: Any) -> dict[str, Any]:
    clusters = [{"id": "Kubernetes", "kubeconfig": str(kubeconfig)}]
    directory = place / "ca"
    return configuration(directory if directory.exists() else cas.init(directory), clusters=clusters, **over)


def _token(review: Review, pod: str, labels: dict[str, str]) -> str:
    token = review.pod_token(pod=pod)
    path = review.kube.path("v1", "Pod", pod, NAMESPACE)
    patch = {"metadata": {"labels": labels}}
    review.kube.call("PATCH", path, patch, content_type="application/merge-patch+json")
    return token


def _route(server: Running, token: str) -> str:
    marks, call = Marks.of(server), Call(good_csr(), bearer(token))
    return str(check_success(server, marks, call, server.send(call))["route"])


@pytest.fixture
def changes() -> list[Loaded]:
    return []


@pytest.fixture
def kubeconfig(review: Review, tmp_path: Path) -> Path:
    rules = [rbac.CREATE_TOKEN_REVIEWS, GET_PODS]
    return rbac.account_kubeconfig(review.kube, tmp_path / "kubeconfig", "istio-system", "reads-pods", rules)


@pytest.fixture
def server(
    loops: LoopThread, review: Review, tmp_path: Path, kubeconfig: Path, changes: list[Loaded]
) -> Iterator[Running]:
    """Starts without any such route."""
    config = _config(tmp_path, kubeconfig)
    with running(
        loops, tmp_path, config, mint=review.pod_token, read_again=lambda: changes.pop() if changes else None
    ) as at_work:
        yield at_work


def test_routes_by_label_from_one_call_to_the_next(
    server: Running, review: Review, tmp_path: Path, kubeconfig: Path, changes: list[Loaded]
) -> None:
    """Hot: the routes come while the server runs, and only then is anybody asked for pods."""
    gold, tin = _token(review, "gold-0", {"tier": "golden"}), _token(review, "tin-0", {"tier": "tin"})
    assert _route(server, gold) == "default"
    mark = server.log.size()
    changes.append(loaded(_config(tmp_path, kubeconfig, routes=ROUTES)))
    server.log.await_line(lambda line: "re-read and in use" in str(line["message"]), mark, 15.0)
    assert (_route(server, gold), _route(server, tin)) == ("gold", "rest")


def test_a_missing_right_is_told(loops: LoopThread, review: Review, tmp_path: Path) -> None:
    """As an outage with advice: to route as if there were no labels would be another decision."""
    kubeconfig = rbac.account_kubeconfig(review.kube, tmp_path / "kubeconfig", "istio-system", "signer")
    config = _config(tmp_path, kubeconfig, routes=ROUTES)
    with running(loops, tmp_path, config, mint=review.pod_token) as server:
        marks = Marks.of(server)
        assert server.send(server.good()).code == "UNAVAILABLE"
        line = only_line(server, marks)
        assert line["error"] == "AuthenticationUnavailable"
        assert "may this service account get pods" in line["reason"]
