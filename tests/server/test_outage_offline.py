"""An API server that goes and comes back under offline tokens and node proxies: what is known serves on for a while."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.poll import until
from tests.cluster.tokens import in_bound, resign
from tests.e2e.apilog import ApiLog
from tests.server import cas
from tests.server.calls import Call
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.sides import PROXIES, SIGNER, Side

OUTAGE = 4.0
IN_TIME = 8.0
"""Seconds for a caller whom no watch knows: the wait for the watch, then the time-out of the question, and room."""
BACK = 40.0
"""Seconds until all is served again: the longest pause between tries, and a start."""
# What following a cluster takes, whoever asks for certificates.
FOLLOWS = {"list pods 200", "watch pods 200", "list serviceaccounts 200", "watch serviceaccounts 200"}
KEYS = {"get /openid/v1/jwks 200", "get /.well-known/openid-configuration 200"}


@dataclass(slots=True)
class Scene:
    """A signer of a cluster of its own."""

    far: Side
    server: Running
    account: str
    node: str

    def proxy(self) -> str:
        """A token of the node's proxy."""
        return self.far.token("ztunnel", node=self.node, namespace=PROXIES)

    def code(self, call: Call) -> str:
        """What the caller is told."""
        return self.server.send(call).code

    def calls(self) -> list[str]:
        """All that the signer has asked its API server."""
        return ApiLog(self.far.cluster, self.far.kube, SIGNER, self.account).calls()


LABELS = [{"name": "gold", "match": {"pod_labels": {"tier": "gold"}}, "backends": ["local"]}, {"backends": ["local"]}]


@pytest.fixture(params=["offline", "offline, by labels", "review"])
def scene(request: pytest.FixtureRequest, loops: LoopThread, far: Side, tmp_path: Path) -> Iterator[Scene]:
    """With ambient in both; an account of its own, whose calls are the test's."""
    account = f"signer-{uuid.uuid4().hex[:6]}"
    access = far.kubeconfig(tmp_path, account)
    config = configuration(
        cas.init(tmp_path / "ca"),
        clusters=[{"id": far.name, "kubeconfig": str(access), "tokens": request.param.partition(",")[0]}],
        routes=LABELS if "labels" in request.param else [],
        authentication={"outage": f"{OUTAGE}s", "timeout": "2s", "cache": "0s"},
        ambient={"trusted_node_accounts": [f"{PROXIES}/ztunnel"]},
    )
    with running(loops, tmp_path, config, mint=lambda: far.token("cart")) as server:
        yield Scene(far, server, account, f"node-{uuid.uuid4().hex[:6]}")


only_offline = pytest.mark.parametrize("scene", ["offline"], indirect=True)
offline = pytest.mark.parametrize("scene", ["offline", "offline, by labels"], indirect=True)
only_review = pytest.mark.parametrize("scene", ["review"], indirect=True)


@only_offline
@pytest.mark.timeout(180)
def test_what_is_known_serves_on_for_a_while(scene: Scene) -> None:
    far, server = scene.far, scene.server
    known = far.call(far.token("cart"))
    far.pod("cart", node=scene.node)
    acting = far.act(scene.proxy(), "cart")
    assert (scene.code(known), scene.code(acting)) == ("OK", "OK")
    unknown = far.call(_of_nobody(far))
    far.cluster.kill()
    try:
        until(lambda: "not watched for" in server.http("/readyz?verbose")[1], deadline=OUTAGE, what="it to be noticed")
        assert (scene.code(known), scene.code(acting)) == ("OK", "OK")
        assert scene.code(unknown) == "UNAVAILABLE"
        assert scene.code(far.act(known.authorization[0].split()[1], "cart")) == "UNAUTHENTICATED", "not trusted"
        until(lambda: scene.code(known) != "OK", deadline=OUTAGE + 2.0, what="the end of the tolerance")
        assert {scene.code(call) for call in (known, acting, unknown)} == {"UNAVAILABLE"}
        assert server.http("/readyz")[0] == 200
    finally:
        far.cluster.start()
    until(lambda: scene.code(known) == "OK", deadline=BACK, what="the API server to be followed again")
    until(lambda: scene.code(acting) == "OK", deadline=BACK, what="the proxy to be served again")
    assert scene.code(unknown) == "UNAUTHENTICATED", "now it is known that there is no such pod"
    assert scene.code(far.call(far.token("cart"))) == "OK"
    until(lambda: "not watched" not in server.http("/readyz?verbose")[1], deadline=BACK, what="a good report")


@offline
@pytest.mark.timeout(120)
def test_one_that_hangs_holds_nobody_up(scene: Scene) -> None:
    """Connections stay open and nothing comes: who is known is served, who is not is told to come back, in time."""
    far, server = scene.far, scene.server
    known, unknown = far.call(far.token("cart")), far.call(_of_nobody(far))
    assert scene.code(known) == "OK"
    far.cluster.pause()
    try:
        begun = time.monotonic()
        assert [scene.code(known) for _ in range(10)] == ["OK"] * 10
        assert time.monotonic() - begun < 2.0
        assert scene.code(unknown) == "UNAVAILABLE"
        assert time.monotonic() - begun < IN_TIME
        assert server.http("/readyz")[0] == 200
    finally:
        far.cluster.resume()
    assert scene.code(far.call(far.token("cart"))) == "OK"
    assert scene.code(unknown) == "UNAUTHENTICATED", "now it is known that there is no such pod"


@offline
def test_offline_no_csr_costs_a_call(scene: Scene) -> None:
    """Nor does acting for others."""
    far = scene.far
    calls = [far.call(far.token("cart")) for _ in range(30)]
    far.pod("cart", node=scene.node)
    acting = far.act(scene.proxy(), "cart")
    assert scene.code(calls[0]) == "OK"
    with scene.server.client() as client:
        assert {client.send(call).code for call in calls * 2} == {"OK"}
        assert {client.send(acting).code for _ in range(20)} == {"OK"}
    made = scene.calls()
    assert set(made) <= FOLLOWS | KEYS, made
    assert len([call for call in made if call in KEYS]) <= 3
    assert len(made) <= 7


@only_review
def test_a_review_is_all_that_a_csr_costs(scene: Scene) -> None:
    far = scene.far
    far.pod("cart", node=scene.node)
    calls = [far.call(far.token("cart")) for _ in range(10)] + [far.act(scene.proxy(), "cart") for _ in range(10)]
    with scene.server.client() as client:
        assert {client.send(call).code for call in calls} == {"OK"}
    made = scene.calls()
    assert made.count("create tokenreviews 201") == len(calls)
    assert set(made) <= FOLLOWS | {"create tokenreviews 201"}, made


def test_a_new_pod_is_never_refused(scene: Scene) -> None:
    """Its token is used the moment that it has it, and so is the right to act for it."""
    far, proxy = scene.far, scene.proxy()
    with scene.server.client() as client:
        for _ in range(20):
            account = f"new-{uuid.uuid4().hex[:6]}"
            assert client.send(far.call(far.token(account, node=scene.node), account)).code == "OK"
            account = f"new-{uuid.uuid4().hex[:6]}"
            far.pod(account, node=scene.node)
            assert client.send(far.act(proxy, account)).code == "OK"


def _of_nobody(far: Side) -> str:
    """A token, under the cluster's own signature, of a pod of which no watch has ever heard."""
    token = far.token("cart")
    private = in_bound(token, pod={"name": "unheard-of", "uid": str(uuid.uuid4())})
    return resign(token, far.cluster.service_account_key, **{"kubernetes.io": private})
