"""``explain`` about tokens that are really judged, offline ones and those of nodes' proxies, by a real API server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import tokens
from tests.cluster.api import Kube
from tests.cluster.process import Cluster
from tests.server.explaining import NODE, Desk, explaining
from tests.server.sides import PROXIES, SHOP, Side


@pytest.fixture(params=["offline", "review"])
def desk(
    request: pytest.FixtureRequest, kube: Kube, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    with explaining(Side("Kubernetes", kube, cluster), tmp_path, request.param, capsys) as at_work:
        yield at_work


only_offline = pytest.mark.parametrize("desk", ["offline"], indirect=True)


@only_offline
def test_a_token_is_judged_as_the_cluster_does(desk: Desk) -> None:
    """With its pod and node as they are now."""
    token = desk.near.token("cart", node=NODE)
    for name in ("", "Kubernetes", "nearby"):
        code, facts = desk.token(token, "--cluster-id", name)
        assert (code, facts["decision"], facts["proven_by"]) == (0, "would sign", "offline")
        assert (facts["identity"], facts["caller"]) == (desk.near.identity("cart"), desk.near.identity("cart"))
        assert (facts["cluster"], facts["impersonated"]) == ("Kubernetes", False)
        assert (facts["pod"]["uid"], facts["pod"]["node"]) == (_bound(token)["pod"]["uid"], NODE)


def _bound(token: str) -> dict[str, Any]:
    bound: dict[str, Any] = tokens.unverified_claims(token)["kubernetes.io"]
    return bound


def _of_a_deleted_pod(desk: Desk) -> str:
    token = desk.near.token("cart")
    desk.near.kube.delete_pod(SHOP, _bound(token)["pod"]["name"])
    return token


def _forged(desk: Desk) -> str:
    """Of two tokens, the first one's claims and the second one's signature."""
    text, signature = desk.near.token("cart").rpartition(".")[0], desk.near.token("cart").rpartition(".")[2]
    return f"{text}.{signature}"


def _resigned(desk: Desk, **changes: object) -> str:
    return tokens.resign(desk.near.token("cart"), desk.near.cluster.service_account_key, **changes)


REFUSED: dict[str, tuple[Callable[[Desk], str], str, str]] = {
    "deleted pod": (_of_a_deleted_pod, "", "live: pods: there is no 'cart-"),
    "other audience": (lambda desk: desk.near.token("cart", audiences=["x"]), "", "the token is for ['x']"),
    "other issuer": (lambda desk: _resigned(desk, iss="https://x"), "", "iss: 'https://x' is not an accepted issuer"),
    "signature of another": (_forged, "", "offline token: signature: not by the issuer's key"),
    "other cluster": (lambda desk: desk.near.token("cart"), "far-away", "['istio-ca'], accepted are ['far-ca']"),
    "unknown cluster": (lambda desk: desk.near.token("cart"), "x", "unknown cluster 'x'"),
}


@only_offline
@pytest.mark.parametrize(("make", "cluster_id", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refused_token(desk: Desk, make: Callable[[Desk], str], cluster_id: str, reason: str) -> None:
    code, told = desk.token(make(desk), "--cluster-id", cluster_id)
    assert reason in told.pop("reason")
    assert (code, told) == (1, {"decision": "refused", "code": "UNAUTHENTICATED", "error": "AuthenticationFailed"})


def test_a_nodes_proxy_acts_for_a_workload(desk: Desk) -> None:
    """By a token of either way; rules see that it acts for another, the deny list sees both."""
    proxy, identity = desk.proxy(), desk.workload("cart")
    desk.more = {"rules": [{"name": "acts", "effect": "allow", "methods": ["impersonation"]}]}
    code, facts = desk.token(proxy, "--impersonate", identity)
    assert (code, facts["identity"], facts["impersonated"]) == (0, identity, True)
    assert facts["caller"] == f"spiffe://cluster.local/ns/{PROXIES}/sa/ztunnel"
    assert facts["rule"].startswith("rule 'acts' allows")
    code, told = desk.token(proxy)
    assert (code, told["error"]) == (1, "PolicyDenied"), "for itself it acts for nobody"
    for denied in (identity, facts["caller"]):
        (desk.place / "deny.yaml").write_text(f"[{{identity: {denied}, reason: stolen}}]")
        desk.more["deny"] = {"file": str(desk.place / "deny.yaml")}
        code, told = desk.token(proxy, "--impersonate", identity)
        assert (code, told["reason"]) == (1, f"denied: identity {denied} (stolen)")


def _elsewhere(desk: Desk) -> tuple[str, str]:
    return desk.proxy(), desk.workload("till", "explain-2")


NOT_FOR: dict[str, tuple[Callable[[Desk], tuple[str, str]], str]] = {
    "other node": (_elsewhere, f"no live pod of it runs on node '{NODE}'"),
    "not trusted": (lambda desk: (desk.proxy("x"), desk.workload("cart")), f"{PROXIES}/x is no trusted node account"),
    "other domain": (lambda desk: (desk.proxy(), f"spiffe://x/ns/{SHOP}/sa/cart"), "it is of trust domain x"),
    "no identity": (lambda desk: (desk.proxy(), "cart"), "not a valid Istio SPIFFE ID: 'cart'"),
}


@pytest.mark.parametrize(("make", "reason"), NOT_FOR.values(), ids=NOT_FOR)
def test_not_for_whom_it_may_not(desk: Desk, make: Callable[[Desk], tuple[str, str]], reason: str) -> None:
    token, identity = make(desk)
    code, told = desk.token(token, "--impersonate", identity)
    assert reason in told.pop("reason")
    assert (code, told) == (1, {"decision": "refused", "code": "UNAUTHENTICATED", "error": "ImpersonationDenied"})
