"""What is harmless of a kubeconfig that somebody else wrote, as Istio's remote secrets are.

Source: istio: pkg/kube/multicluster/secretcontroller.go, which rebuilds each user too, so that what is new in the
format stays out until somebody has looked at it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from signer.kube.no_cluster import NoCluster

# What it may say ...
_USER_KEYS = ("token", "client-certificate-data", "client-key-data", "username", "password")
_CLUSTER_KEYS = ("server", "certificate-authority-data", "tls-server-name")
# ... and what it must not: commands to run, files of this machine, other roads, other identities.
_USER_REFUSED = ("exec", "auth-provider", "tokenFile", "client-certificate", "client-key", "as", "as-groups")
_CLUSTER_REFUSED = ("certificate-authority", "proxy-url")
_UNVERIFIED = "insecure-skip-tls-verify"


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
