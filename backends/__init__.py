"""The ways to sign. To add one: a package here with a SPEC, a line in BUILT_IN, and its far side in tests/contract.

Other distributions may add theirs by the entry point group ``istio_signer.backends``: name = type, value = SPEC.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from signer.core.spec import BackendSpec

ENTRY_POINTS = "istio_signer.backends"

# type -> where its SPEC is; imported on first use, so that an unused backend's libraries cost nothing.
BUILT_IN: dict[str, str] = {
    "local": "backends.local.spec:SPEC",
    "vault": "backends.vault.spec:SPEC",
    "cert-manager": "backends.cert_manager.spec:SPEC",
    "kubernetes-csr": "backends.kubernetes_csr.spec:SPEC",
}


class UnknownBackend(LookupError):
    """No backend of that type is built in or installed; the message lists those that are."""


def spec(type_name: str) -> BackendSpec:
    """Find the SPEC of a backend type.

    Raises:
        UnknownBackend: There is none, or its module cannot be loaded.
    """
    load = _loader(type_name)
    try:
        # Runs a stranger's code, so that anything may come of it.
        found = load()
    except Exception as error:
        fault = f"backend type {type_name!r} cannot be loaded: {type(error).__name__}"
        raise UnknownBackend(fault) from error
    if not isinstance(found, BackendSpec):
        raise UnknownBackend(f"backend type {type_name!r} does not name a BackendSpec")
    return found


def _loader(type_name: str) -> Callable[[], object]:
    if type_name in BUILT_IN:
        return EntryPoint(type_name, BUILT_IN[type_name], ENTRY_POINTS).load
    for entry in entry_points(group=ENTRY_POINTS, name=type_name):
        return entry.load
    raise UnknownBackend(f"unknown backend type {type_name!r}; known: {', '.join(types())}")


def types() -> list[str]:
    """List the types that a configuration may name."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group=ENTRY_POINTS))})
