"""Opening a connection to an API server: from a kubeconfig, or as the pod's own service account."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

# As many as authentication.concurrency may be.
MAX_CONNECTIONS = 1000


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
    # Called through type: the class hands out copies of a process-wide default otherwise.
    configuration = type.__call__(Configuration)
    configuration.connection_pool_maxsize = MAX_CONNECTIONS
    # Proxies of the environment are for the web; tokens go to the API server and nowhere else.
    configuration.client_session_kwargs = {"trust_env": False}
    try:
        await _load(configuration, kubeconfig, context)
        client = ApiClient(configuration=configuration)
    except ConfigException as error:
        raise _no_cluster(kubeconfig, str(error)) from None
    except Exception as error:  # noqa: BLE001  parsers of several libraries; their texts may quote the credentials
        raise _no_cluster(kubeconfig, type(error).__name__) from None
    _check_encrypted(configuration.host)
    return client


def _check_encrypted(server: str) -> None:
    parts = urlsplit(server)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise NoCluster(f"{server}: tokens are sent to an API server by https only")


def _check_there(kubeconfig: Path | None) -> None:
    """The client takes a missing file for an empty one, and complains about its contents."""
    if kubeconfig is not None and not kubeconfig.is_file():
        raise NoCluster(f"{kubeconfig}: no such file")


async def _load(configuration: Configuration, kubeconfig: Path | None, context: str | None) -> None:
    if kubeconfig is None:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return
    await load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig),
        context=context,
        client_configuration=configuration,
        persist_config=False,
    )


def _no_cluster(kubeconfig: Path | None, fault: str) -> NoCluster:
    """What to do. A kubeconfig's inline certificates go through temporary files, which a read-only root refuses."""
    if kubeconfig is not None:
        return NoCluster(f"{kubeconfig}: no usable kubeconfig: {fault}")
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        return NotInPod(f"this is no pod of a cluster ({fault}); name a kubeconfig file")
    return NoCluster(f"the pod's service account cannot be used ({fault}); see automountServiceAccountToken")
