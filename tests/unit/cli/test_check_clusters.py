"""Which rights `check --live` asks for: what each key of the configuration takes, in which cluster, and no more."""

from pathlib import Path
from typing import Any

import pytest

from signer.authn.token_review import PATH as TOKEN_REVIEW
from signer.cli import check_clusters as checking
from signer.cli.check_clusters import check_clusters
from signer.config.model import Config
from signer.core.spec import Finding
from signer.kube.answer import Answer
from tests.unit.authn.test_offline import JWK

READ = ("get", "list", "watch")
PODS = [f"{verb} pods" for verb in READ]
ACCOUNTS = [f"{verb} serviceaccounts" for verb in READ]
SECRETS = [f"{verb} secrets in mesh" for verb in ("list", "watch")]
FOLLOWED = {"enabled": True, "namespace": "mesh"}
AMBIENT = {"trusted_node_accounts": ["istio-system/ztunnel"]}
TWO = [{"id": "a"}, {"id": "b", "kubeconfig": "/b", "tokens": "offline"}]
LABELS = [{"match": {"pod_labels": {"tier": "gold"}}, "backends": ["local"]}]


class Api:
    """An API server that allows everything but what it is told; notes what it is asked."""

    def __init__(self, denied: str = "") -> None:
        self.denied, self.asked, self.closed = denied, list[str](), 0

    async def post(self, path: str, body: dict[str, Any], timeout: float) -> Answer:
        """Allow it."""
        if path == TOKEN_REVIEW:
            self.asked.append("tokens")
            return Answer(201, {})
        if body["kind"] == "SelfSubjectReview":
            return Answer(201, {"status": {"userInfo": {"username": "system:serviceaccount:mesh:far"}}})
        of = body["spec"]["resourceAttributes"]
        where = f" in {of['namespace']}" if of["namespace"] else ""
        right = f"{of['verb']} {of['resource']}{where}"
        self.asked.append(right)
        return Answer(201, {"status": {"allowed": right != self.denied}})

    async def call(self, method: str, path: str, timeout: float, *, limit: int) -> Answer:
        """Its issuer and its keys; that it is asked for them is tested with the issuers."""
        return Answer(200, {"issuer": "https://own", "keys": [JWK]})

    async def close(self) -> None:
        """Note it."""
        self.closed += 1


async def _found(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], *, live: bool = True, denied: str = ""
) -> tuple[list[Finding], list[Api]]:
    made: list[Api] = []

    async def connect(kubeconfig: Path | None, context: str | None) -> Api:
        made.append(Api(denied))
        return made[-1]

    monkeypatch.setattr(checking, "connect", connect)
    found = await check_clusters(Config.model_validate({"backends": {"local": {"type": "local"}}, **config}), live)
    assert [api.closed for api in made] == [1] * len(made)
    return found, made


NEEDS: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
    "review": ({}, [[]]),
    "offline": ({"clusters": [{"tokens": "offline"}]}, [[*PODS, *ACCOUNTS]]),
    "offline in one of two": ({"clusters": TWO}, [[], [*PODS, *ACCOUNTS]]),
    "pod labels": ({"routes": LABELS}, [["get pods"]]),
    "ambient in all of them": ({"clusters": TWO, "ambient": AMBIENT}, [PODS, [*PODS, *ACCOUNTS, *PODS]]),
    "ambient in one of two": ({"clusters": [{"id": "a"}, {"id": "b", "kubeconfig": "/b", **AMBIENT}]}, [[], PODS]),
    "ambient but in one": (
        {"clusters": [{"id": "a", "trusted_node_accounts": []}, {"id": "b", "kubeconfig": "/b"}], "ambient": AMBIENT},
        [[], PODS],
    ),
    "remote secrets in the first": ({"clusters": TWO, "remote_secrets": FOLLOWED}, [SECRETS, [*PODS, *ACCOUNTS]]),
    "remote secrets switched off": ({"remote_secrets": {**FOLLOWED, "enabled": False}}, [[]]),
}


@pytest.mark.parametrize(("config", "asked"), NEEDS.values(), ids=NEEDS)
async def test_what_is_asked_of_each_cluster(
    config: dict[str, Any], asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, made = await _found(monkeypatch, config)
    assert [api.asked for api in made] == [["tokens", *rights] for rights in asked]
    assert {finding.level for finding in found} == {"ok"}


async def test_without_live_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    found, made = await _found(monkeypatch, {"clusters": TWO, "ambient": AMBIENT}, live=False)
    assert [api.asked for api in made] == [[], []]
    assert [(finding.level, finding.where) for finding in found] == [("ok", "clusters.0"), ("ok", "clusters.1")]


MISSING: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "offline": (
        {"clusters": [{"tokens": "offline"}]},
        "watch serviceaccounts",
        "clusters.0.tokens",
        "istio-signer-offline-tokens",
    ),
    "ambient": ({"ambient": AMBIENT}, "list pods", "ambient", "istio-signer-ambient"),
    "pod labels": ({"routes": LABELS}, "get pods", "clusters.0", "istio-signer-pod-labels"),
    "remote secrets": (
        {"remote_secrets": FOLLOWED},
        "watch secrets in mesh",
        "remote_secrets",
        "istio-signer-remote-secrets",
    ),
}


@pytest.mark.parametrize(("config", "denied", "where", "role"), MISSING.values(), ids=MISSING)
async def test_a_missing_right_is_an_error_with_the_command_that_gives_it(
    config: dict[str, Any], denied: str, where: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = await _found(monkeypatch, config, denied=denied)
    (error,) = (finding for finding in found if finding.level == "error")
    assert (error.where, error.text) == (where, f"this account may not {denied}")
    assert f"name: {role}" in str(error)
    assert 'subjects: [{"kind": "ServiceAccount", "name": "far", "namespace": "mesh"}]' in str(error)
