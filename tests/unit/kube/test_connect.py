"""What a kubeconfig that came from a Secret may say."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient

from signer.kube import connect as connecting
from signer.kube.connect import connect_with, open_client_from
from signer.kube.no_cluster import NoCluster

SECRET = "s3cr3t"
Config = dict[str, Any]


def config(user: Config | None = None, cluster: Config | None = None, **top: Any) -> Config:
    """One as istioctl writes it, with a few things more or other."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": SECRET, **(user or {})}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **top,
    }


async def test_a_token_is_used() -> None:
    """And the mapping stays as it was, for the next time."""
    given = config(user={"unheard-of": {"run": "me"}}, cluster={"tls-server-name": "far", "proxy-url": ""})
    before = copy.deepcopy(given)
    client = await open_client_from(given)
    configuration = client.configuration
    assert configuration.api_key == {"BearerToken": f"Bearer {SECRET}"}
    assert (configuration.host, configuration.tls_server_name) == ("https://192.0.2.1:6443", "far")
    assert (configuration.verify_ssl, configuration.proxy) == (True, None)
    assert given == before
    await client.close()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("server", ["http://127.0.0.1:80", "http://localhost", "http://[::1]:1"])
async def test_plain_http_to_loopback(server: str) -> None:
    connection = await connect_with(config(cluster={"server": server}))
    await connection.close()


REFUSED_USER: list[tuple[str, Any]] = [
    ("exec", {"command": SECRET}),
    ("auth-provider", {"name": "oidc"}),
    ("tokenFile", "/s3cr3t"),
    ("client-certificate", "/s3cr3t"),
    ("client-key", "/s3cr3t"),
    ("as", "s3cr3t"),
    ("token", [SECRET]),
    ("password", {"a": SECRET}),
]
REFUSED_CLUSTER: list[tuple[str, Any]] = [
    ("certificate-authority", "/s3cr3t"),
    ("insecure-skip-tls-verify", True),
    ("insecure-skip-tls-verify", "false"),
    ("proxy-url", "http://s3cr3t"),
    ("server", "https://me:s3cr3t@192.0.2.1"),
    ("server", 7),
]


async def _refusal(given: Config) -> str:
    with pytest.raises(NoCluster) as refusal:
        await connect_with(given)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    return str(refusal.value)


@pytest.mark.parametrize(("key", "value"), REFUSED_USER, ids=str)
async def test_refused_of_a_user(key: str, value: Any) -> None:
    """Of any user, also of one that is not in use; the complaint names the key and quotes nothing."""
    assert f"users.0.user.{key}: " in await _refusal(config(user={key: value}))
    idle = config()
    idle["users"].append({"name": "idle", "user": {key: value}})
    assert f"users.1.user.{key}: " in await _refusal(idle)


@pytest.mark.parametrize(("key", "value"), REFUSED_CLUSTER, ids=str)
async def test_refused_of_a_cluster(key: str, value: Any) -> None:
    assert f"clusters.0.cluster.{key}: " in await _refusal(config(cluster={key: value}))


def _without(key: str) -> Config:
    given = config()
    del given[key]
    return given


SHAPES: list[tuple[Callable[[], Config], str]] = [
    (dict, "not a list"),
    (lambda: config(users=None), "users: not a list"),
    (lambda: config(users=["u"]), "users.0.user: not a mapping"),
    (lambda: config(clusters=[{"name": "c", "cluster": None}]), "clusters.0.cluster: not a mapping"),
    (lambda: config(contexts=[{"name": ["x"], "context": {}}]), "contexts.0.name: not a text"),
    (lambda: _without("current-context"), "no usable kubeconfig: .*current-context"),
    (lambda: config() | {"current-context": "y"}, "no usable kubeconfig: "),
    (lambda: config(cluster={"certificate-authority-data": "s3cr3t!"}), "no usable kubeconfig: "),
    (lambda: config(cluster={"server": "https://[s3cr3t"}), "no usable kubeconfig: "),
    (lambda: config(cluster={"server": "http://192.0.2.1:80"}), "http://192.0.2.1:80: .* by https only"),
]


@pytest.mark.parametrize(("make", "complaint"), SHAPES, ids=[text for _, text in SHAPES])
async def test_other_shapes(make: Callable[[], Config], complaint: str) -> None:
    with pytest.raises(NoCluster, match=complaint) as refusal:
        await open_client_from(make())
    assert SECRET not in str(refusal.value)


async def _hang(_: object) -> ApiClient:
    await asyncio.Event().wait()
    raise AssertionError


async def test_one_that_cannot_be_loaded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "OPEN_SECONDS", 0.01)
    monkeypatch.setattr(connecting, "open_client_from", _hang)
    with pytest.raises(NoCluster, match=r"could not be read within 0\.01 s"):
        await connect_with(config())
