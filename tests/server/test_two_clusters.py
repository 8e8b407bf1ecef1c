"""Two real API servers: the caller's ``clusterid`` picks the judge, and nothing of one cluster counts in the other."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.server import cas
from tests.server.calls import Call
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.server.sides import PROXIES, SHOP, Side, second
from tests.server.verdicts import Marks, check_refusal, check_success

STRANGER = {"review": "invalid signature, no keys found", "offline": "offline token: kid: the issuer has no key"}
NOT_FOR_NEAR = "the token is for ['far-ca'], accepted are ['istio-ca']"
NOT_FOR_FAR = "the token is for ['istio-ca'], accepted are ['far-ca']"


@dataclass(frozen=True, slots=True)
class Two:
    """A signer for both."""

    near: Side
    far: Side
    server: Running
    stranger: str
    """The reason where a token is for the right audience and under nobody's key."""

    def served(self, call: Call) -> dict[str, Any]:
        """Its audit line."""
        marks = Marks.of(self.server)
        return check_success(self.server, marks, call, self.server.send(call))

    def refused(self, call: Call, reason: str, error: str = "AuthenticationFailed") -> dict[str, Any]:
        """Its audit line."""
        marks = Marks.of(self.server)
        return check_refusal(self.server, marks, call, self.server.send(call), error, reason)


@pytest.fixture(scope="module")
def near(kube: Kube, cluster: Cluster) -> Side:
    kube.create_namespace(SHOP)
    return Side("Kubernetes", kube, cluster)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    with second(tmp_path_factory.mktemp("far"), "far.example", ("far-ca",)) as side:
        yield side


@pytest.fixture(scope="module", params=["review", "offline"])
def two(
    request: pytest.FixtureRequest, loops: LoopThread, near: Side, far: Side, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Two]:
    place = tmp_path_factory.mktemp(f"two-{request.param}")
    directory, other = cas.init(place / "ca"), cas.init(place / "other")
    clusters = [
        {"id": near.name, "kubeconfig": str(near.kubeconfig(place)), "tokens": request.param},
        {
            "id": far.name,
            "kubeconfig": str(far.kubeconfig(place)),
            "tokens": request.param,
            "trust_domain": far.domain,
            "audiences": [*far.audiences],
            "aliases": ["far-away", "cluster-2"],
        },
    ]
    config = configuration(
        directory,
        clusters=clusters,
        ambient={"trusted_node_accounts": [f"{PROXIES}/ztunnel"]},
        backends={"other": {"type": "local", "directory": str(other)}},
        routes=[
            {"name": "far", "match": {"clusters": [far.name]}, "backends": ["other"]},
            {"name": "rest", "backends": ["local"]},
        ],
        serving={"backend": "local"},
    )
    with running(loops, place, config, mint=lambda: near.token("cart")) as server:
        yield Two(near, far, server, STRANGER[request.param])


def test_each_cluster_has_its_judge_its_domain_and_its_backend(two: Two) -> None:
    here, there = two.served(two.near.call(two.near.token("cart"))), two.served(two.far.call(two.far.token("cart")))
    assert (here["identity"], here["cluster"]) == (two.near.identity("cart"), two.near.name)
    assert (there["identity"], there["cluster"]) == (two.far.identity("cart"), two.far.name)
    assert (here["backend"], there["backend"]) == ("local", "other")
    assert (here["route"], there["route"]) == ("rest", "far")


@pytest.mark.parametrize("alias", ["far-away", "cluster-2"])
def test_an_alias_is_the_cluster(two: Two, alias: str) -> None:
    line = two.served(two.far.call(two.far.token("cart"), cluster=alias))
    assert (line["identity"], line["backend"]) == (two.far.identity("cart"), "other")


def test_a_token_of_one_is_nothing_in_the_other(two: Two) -> None:
    """Even with the audience that the other one asks for."""
    for audience, in_far, in_near in (
        ("istio-ca", NOT_FOR_FAR, two.stranger),
        ("far-ca", two.stranger, NOT_FOR_NEAR),
    ):
        two.refused(two.far.call(two.near.token("cart", audiences=(audience,))), in_far)
        two.refused(two.near.call(two.far.token("cart", audiences=(audience,))), in_near)


def test_each_cluster_has_its_audiences(two: Two) -> None:
    two.refused(two.far.call(two.far.token("cart", audiences=("istio-ca",))), NOT_FOR_FAR)
    two.refused(two.near.call(two.near.token("cart", audiences=("far-ca",))), NOT_FOR_NEAR)


def test_no_name_or_several_mean_the_local_cluster(two: Two) -> None:
    for clusters in ((), ("",), (two.far.name, two.near.name), (two.far.name, two.far.name)):
        good = two.near.call(two.near.token("cart"))
        assert two.served(Call(good.csr, good.authorization, clusters))["cluster"] == two.near.name
        bad = two.far.call(two.far.token("cart"))
        two.refused(Call(bad.csr, bad.authorization, clusters), NOT_FOR_NEAR)


def test_an_unknown_name_is_nobody(two: Two) -> None:
    two.refused(two.near.call(two.near.token("cart"), cluster="elsewhere"), "unknown cluster 'elsewhere'")
    two.refused(two.near.call(two.near.token("cart"), cluster="FAR"), "unknown cluster 'FAR'")


def test_a_nodes_proxy_acts_in_its_own_cluster_alone(two: Two) -> None:
    """Same node, same namespace, same account: only pods of the proxy's own cluster count."""
    for one, other, name, elsewhere in (
        (two.near, two.far, "on-far", NOT_FOR_FAR),
        (two.far, two.near, "on-near", NOT_FOR_NEAR),
    ):
        account = f"{name}-{uuid.uuid4().hex[:6]}"
        token = one.token("ztunnel", node="node-x", namespace=PROXIES)
        other.pod(account, node="node-x")
        two.refused(one.act(token, account), "no live pod of it runs on node 'node-x'", "ImpersonationDenied")
        # Nor by calling itself a caller of the other, nor by the other's name for the workload.
        two.refused(one.act(token, account, cluster=other.name), elsewhere)
        named = other.act(token, account, cluster=one.name)
        two.refused(named, f"it is of trust domain {other.domain}", "ImpersonationDenied")
        one.pod(account, node="node-x")
        line = two.served(one.act(token, account))
        assert (line["identity"], line["cluster"]) == (one.identity(account), one.name)
