"""The ``VAULT_...`` variables of Istio's former Vault integration, taken as keys of a backend of type ``vault``.

A seed is an installation that this signer starts from: a mesh whose certificates came from Vault by a guide for Istio,
and whose manifests name Vault by these variables. They go on working as they stand.

They set the keys of the one configured backend of that type, or make one named ``vault``. With several of that type
they would be ambiguous, and are refused.
"""

from collections.abc import Mapping
from typing import Any

from signer.config.complaints import BadConfig

NAME = "vault"
# Variable -> key inside the backend's section. Both files are whom to trust for Vault's own TLS.
VARIABLES: dict[str, tuple[str, ...]] = {
    "VAULT_ADDR": ("address",),
    "VAULT_ROLE": ("auth", "role"),
    "VAULT_AUTH_PATH": ("auth", "mount"),
    "VAULT_SIGN_CSR_PATH": ("sign_path",),
    "VAULT_NAMESPACE": ("namespace",),
    "VAULT_CACERT": ("ca_file",),
    "VAULT_TLS_ROOT_CERT": ("ca_file",),
}
# Vault's own tools read some of them too: only these say that somebody means this program.
_MEANT = ("VAULT_SIGN_CSR_PATH", "VAULT_AUTH_PATH")


def vault_keys(environment: Mapping[str, str], backends: object) -> list[tuple[str, tuple[str, ...], str]]:
    """List each variable that is given, the key that it sets and its value.

    Args:
        environment: Variables.
        backends: The value of ``backends`` so far, not checked in any way.

    Raises:
        BadConfig: Several backends are of that type.
    """
    given = {name: environment[name].strip() for name in VARIABLES if environment.get(name, "").strip()}
    mine = _of_type(backends)
    if not given or not (mine or any(name in given for name in _MEANT)):
        return []
    if len(mine) > 1:
        names = ", ".join(sorted(mine))
        raise BadConfig([f"environment: {', '.join(given)}: which of {names} is meant? Set their keys in the file"])
    target = mine[0] if mine else NAME
    return [(name, ("backends", target, *VARIABLES[name]), value) for name, value in given.items()]


def _of_type(backends: object) -> list[str]:
    sections: Mapping[Any, Any] = backends if isinstance(backends, dict) else {}
    return [
        str(name) for name, section in sections.items() if isinstance(section, dict) and section.get("type") == NAME
    ]
