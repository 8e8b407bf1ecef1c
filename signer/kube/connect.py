"""Opening a connection to an API server: from a kubeconfig, or as the pod's own service account."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import (
    ConfigException,
    load_incluster_config,
    load_kube_config,
    load_kube_config_from_dict,
)

from signer.kube.memory_files import in_memory

# As many as authentication.concurrency may be.
MAX_CONNECTIONS = 1000
# What a kubeconfig that came from a Secret may say (istio: pkg/kube/multicluster/secretcontroller.go, which rebuilds
# each user too, so that what is new in the format stays out until somebody has looked at it) ...
_USER_KEYS = ("token", "client-certificate-data", "client-key-data", "username", "password")
_CLUSTER_KEYS = ("server", "certificate-authority-data", "tls-server-name")
# ... and what it must not: commands to run, files of this machine, other roads, other identities.
_USER_REFUSED = ("exec", "auth-provider", "tokenFile", "client-certificate", "client-key", "as", "as-groups")
_CLUSTER_REFUSED = ("certificate-authority", "proxy-url")
_UNVERIFIED = "insecure-skip-tls-verify"


class NoCluster(Exception):
    """There is no usable connection configuration; the message says what is missing and what to do."""


class NotInPod(NoCluster):
    """A pod's own service account is to be used, and this process runs in no pod: nothing is wrong but the place."""


async def open_client(kubeconfig: Path | None, context: str | None) -> ApiClient:
    """Make a client from the credentials as they are now; nothing is sent yet.

    Raises:
        NoCluster: The file is unusable, or this process does not run in a pod.
    """
    await asyncio.to_thread(_check_there, kubeconfig)
    load = partial(_load, kubeconfig=kubeconfig, context=context)
    return await _open(load, partial(_no_cluster, kubeconfig))


async def open_client_from(config: Mapping[str, Any]) -> ApiClient:
    """Make a client from a kubeconfig that somebody else wrote; nothing is sent yet.

    Args:
        config: Decoded; of it, only what is known to be harmless is used.

    Raises:
        NoCluster: It is unusable, or would run commands, read files of this machine, or trust anybody.
    """
    harmless = sanitized(config)
    try:
        with in_memory(harmless) as config:
            return await _open(partial(_load_from, config=config), _unusable)
    except ValueError as error:
        raise _unusable(str(error)) from None


async def _open(load: Callable[[Configuration], Awaitable[None]], no_cluster: Callable[[str], NoCluster]) -> ApiClient:
    # Called through type: the class hands out copies of a process-wide default otherwise.
    configuration = type.__call__(Configuration)
    configuration.connection_pool_maxsize = MAX_CONNECTIONS
    # Proxies of the environment are for the web; tokens go to the API server and nowhere else.
    configuration.client_session_kwargs = {"trust_env": False}
    try:
        await load(configuration)
        _check_encrypted(configuration.host)
        return ApiClient(configuration=configuration)
    except NoCluster:
        raise
    except ConfigException as error:
        raise no_cluster(str(error)) from None
    except Exception as error:  # noqa: BLE001  parsers of several libraries; their texts may quote the credentials
        raise no_cluster(type(error).__name__) from None


def _check_encrypted(server: str) -> None:
    parts = urlsplit(server)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        # Without what stands before the host: that may be a password.
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2][:200]}"
        raise NoCluster(f"{where}: tokens are sent to an API server by https only")


def _check_there(kubeconfig: Path | None) -> None:
    """The client takes a missing file for an empty one, and complains about its contents."""
    if kubeconfig is not None and not kubeconfig.is_file():
        raise NoCluster(f"{kubeconfig}: no such file")


async def _load(configuration: Configuration, *, kubeconfig: Path | None, context: str | None) -> None:
    if kubeconfig is None:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return
    await load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig),
        context=context,
        client_configuration=configuration,
        persist_config=False,
    )


async def _load_from(configuration: Configuration, *, config: dict[str, Any]) -> None:
    await load_kube_config_from_dict(  # type: ignore[no-untyped-call]
        config, client_configuration=configuration
    )


def _unusable(fault: str) -> NoCluster:
    return NoCluster(f"no usable kubeconfig: {fault[:300]}")


def _no_cluster(kubeconfig: Path | None, fault: str) -> NoCluster:
    """What to do. A kubeconfig's inline certificates go through temporary files, which a read-only root refuses."""
    if kubeconfig is not None:
        return NoCluster(f"{kubeconfig}: no usable kubeconfig: {fault}")
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        return NotInPod(f"this is no pod of a cluster ({fault}); name a kubeconfig file")
    return NoCluster(f"the pod's service account cannot be used ({fault}); see automountServiceAccountToken")


def sanitized(config: Mapping[str, Any]) -> dict[str, Any]:
    """Copy what is harmless of a kubeconfig that somebody else wrote.

    Raises:
        NoCluster: It says what it must not; the message has the key's place, never its value.
    """
    return {
        "current-context": _texts(config, ("current-context",), "kubeconfig").get("current-context"),
        "users": [_entry(place, item, "user", _user) for place, item in _items(config, "users")],
        "clusters": [_entry(place, item, "cluster", _cluster) for place, item in _items(config, "clusters")],
        "contexts": [_entry(place, item, "context", _context) for place, item in _items(config, "contexts")],
    }


def _items(config: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    items = config.get(key)
    if not isinstance(items, list):
        raise NoCluster(f"{key}: not a list")
    return [(f"{key}.{index}", item) for index, item in enumerate(items)]


def _entry(place: str, item: Any, kind: str, read: Callable[[str, Mapping[str, Any]], Any]) -> dict[str, Any]:
    if not isinstance(item, Mapping) or not isinstance(item.get(kind), Mapping):
        raise NoCluster(f"{place}.{kind}: not a mapping")
    return {"name": _texts(item, ("name",), place).get("name"), kind: read(f"{place}.{kind}", item[kind])}


def _user(place: str, user: Mapping[str, Any]) -> dict[str, str]:
    _refuse(place, user, _USER_REFUSED)
    return _texts(user, _USER_KEYS, place)


def _cluster(place: str, cluster: Mapping[str, Any]) -> dict[str, str]:
    _refuse(place, cluster, _CLUSTER_REFUSED)
    if cluster.get(_UNVERIFIED):
        raise NoCluster(f"{place}.{_UNVERIFIED}: the API server must be verified")
    kept = _texts(cluster, _CLUSTER_KEYS, place)
    if "@" in kept.get("server", ""):
        raise NoCluster(f"{place}.server: credentials do not belong into an address")
    return kept


def _context(place: str, context: Mapping[str, Any]) -> dict[str, str]:
    return _texts(context, ("cluster", "user"), place)


def _refuse(place: str, section: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if section.get(key):
            raise NoCluster(f"{place}.{key}: not allowed in a kubeconfig from a Secret")


def _texts(section: Mapping[str, Any], keys: tuple[str, ...], place: str) -> dict[str, str]:
    kept = {key: section[key] for key in keys if section.get(key) is not None}
    for key, value in kept.items():
        if not isinstance(value, str):
            raise NoCluster(f"{place}.{key}: not a text")
    return kept
