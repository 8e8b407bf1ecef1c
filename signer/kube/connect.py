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

from signer.core.hosts import LOOPBACK
from signer.kube.api import OPEN_SECONDS, KubeApi
from signer.kube.foreign_kubeconfig import sanitized
from signer.kube.memory_files import in_memory
from signer.kube.no_cluster import NoCluster, NotInPod

# As many as authentication.concurrency may be.
MAX_CONNECTIONS = 1000


async def connect(kubeconfig: Path | None, context: str | None = None, name: str = "") -> KubeApi:
    """Open a connection; nothing is sent yet.

    Args:
        kubeconfig: A kubeconfig file; None means the pod's own service account.
        context: A context of that file; None means its current one.
        name: The cluster's id, for the log.

    Raises:
        NoCluster: The file is unusable or cannot be read in time, or this process does not run in a pod.
    """

    async def opened() -> ApiClient:
        return await open_client(kubeconfig, context)

    where = kubeconfig or "the pod's service account"
    return await _connected(opened, name, f"{where}: ", ": does its volume hang, or a command that it runs?")


async def connect_with(config: Mapping[str, Any], name: str = "") -> KubeApi:
    """Open a connection by a kubeconfig that somebody else wrote, as Istio's remote secrets are; nothing is sent yet.

    Args:
        config: Decoded. Its credentials stay as they are for as long as the connection: nobody can read them again.
        name: The cluster's id, for the log.

    Raises:
        NoCluster: It is unusable, says what it must not (``signer.kube.foreign_kubeconfig``), or cannot be loaded in
            time.
    """

    async def opened() -> ApiClient:
        return await open_client_from(config)

    return await _connected(opened, name, "the kubeconfig ", "")


async def _connected(opened: Callable[[], Awaitable[ApiClient]], name: str, what: str, hint: str) -> KubeApi:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            client = await opened()
    except TimeoutError:
        raise NoCluster(f"{what}could not be read within {OPEN_SECONDS:g} s{hint}") from None
    return KubeApi(client, opened, name)


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
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
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
