"""What API servers and tokens say, read without trust in its shape."""

from typing import Any

_ACCOUNT = ["system", "serviceaccount"]


def mapping(value: object) -> dict[str, Any]:
    """Take an object for what it is, and anything else for an empty one."""
    return value if isinstance(value, dict) else {}


def account_of(username: object) -> tuple[str, str]:
    """Take the name that Kubernetes gives a service account's user apart: its namespace and its own name, unchecked.

    Source: kubernetes: staging/src/k8s.io/apiserver/pkg/authentication/serviceaccount/util.go.

    Raises:
        ValueError: It is no service account's: not ``system:serviceaccount:NAMESPACE:NAME``, exactly four parts.
    """
    parts = username.split(":") if isinstance(username, str) else []
    if len(parts) != 4 or parts[:2] != _ACCOUNT:
        raise ValueError("no service account")
    return parts[2], parts[3]
