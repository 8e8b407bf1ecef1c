"""The ways to sign. To add one: a file here with a SPEC, a line in BUILT_IN, and its far side in tests/contract.

Other distributions may add theirs by the entry point group ``istio_signer.backends``: name = type, value = SPEC.
"""

from importlib import import_module
from importlib.metadata import entry_points

from signer.core.spec import BackendSpec

ENTRY_POINTS = "istio_signer.backends"

# type -> where its SPEC is; imported on first use, so that an unused backend's libraries cost nothing.
BUILT_IN: dict[str, str] = {
    "local": "backends.local:SPEC",
}


class UnknownBackend(LookupError):
    """No backend of that type is built in or installed; the message lists those that are."""


def spec(type_name: str) -> BackendSpec:
    """Find the SPEC of a backend type.

    Raises:
        UnknownBackend: There is none.
    """
    if type_name in BUILT_IN:
        module, attribute = BUILT_IN[type_name].split(":")
        found = getattr(import_module(module), attribute)
    else:
        found = _installed(type_name)
    if not isinstance(found, BackendSpec):
        raise UnknownBackend(f"backend type {type_name!r} does not name a BackendSpec")
    return found


def _installed(type_name: str) -> object:
    for entry in entry_points(group=ENTRY_POINTS, name=type_name):
        return entry.load()
    raise UnknownBackend(f"unknown backend type {type_name!r}; known: {', '.join(types())}")


def types() -> list[str]:
    """List the types that a configuration may name."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group=ENTRY_POINTS))})
