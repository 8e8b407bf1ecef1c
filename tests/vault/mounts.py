"""PKI mounts as an operator sets them up for a mesh."""

import json
from pathlib import Path
from typing import Any

from tests.vault.openbao import OpenBao

ISTIO_ROLE: dict[str, Any] = {
    "allowed_uri_sans": ["spiffe://cluster.local/*"],
    "allow_any_name": True,
    "enforce_hostnames": False,
    "require_cn": False,
    "key_type": "any",
    "client_flag": True,
    "server_flag": True,
    "no_store": True,
    "generate_lease": False,
    "max_ttl": "72h",
}


# Made in no time, where an RSA key may take seconds on a busy machine.
_EC = {"key_type": "ec", "key_bits": 256}


def root_mount(server: OpenBao, mount: str = "pki", **role: Any) -> None:
    """A mount whose self-signed root signs, with a role `istio-ca` that is right for Istio, but for what is given."""
    server.call("POST", f"sys/mounts/{mount}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
    server.call("POST", f"{mount}/root/generate/internal", {"common_name": f"{mount} root", "ttl": "87600h", **_EC})
    server.call("POST", f"{mount}/roles/istio-ca", ISTIO_ROLE | role)


def intermediate_mount(server: OpenBao, mount: str = "pki_int", parent: str = "pki") -> None:
    """A mount whose intermediate is signed by another mount's root."""
    server.call("POST", f"sys/mounts/{mount}", {"type": "pki", "config": {"max_lease_ttl": "43800h"}})
    made = server.call("POST", f"{mount}/intermediate/generate/internal", {"common_name": f"{mount} CA", **_EC})
    wanted = {"csr": made["data"]["csr"], "ttl": "43800h", "format": "pem_bundle"}
    signed = server.call("POST", f"{parent}/root/sign-intermediate", wanted)["data"]
    chain = signed["certificate"] + "\n" + signed["issuing_ca"]
    server.call("POST", f"{mount}/intermediate/set-signed", {"certificate": chain})
    server.call("POST", f"{mount}/roles/istio-ca", ISTIO_ROLE)


def second_issuer(server: OpenBao, mount: str, name: str) -> str:
    """Give a mount one more self-signed root, which is not its default; its PEM."""
    asked = {"common_name": f"{name} root", "ttl": "8760h", "issuer_name": name, **_EC}
    made: str = server.call("POST", f"{mount}/root/generate/internal", asked)["data"]["certificate"]
    return made


def policy_token(server: OpenBao, folder: Path, *paths: str, ttl: str = "1h", **more: Any) -> Path:
    """A token file whose token may only call these paths."""
    rules = {path: {"capabilities": ["create", "update"]} for path in paths}
    server.call("PUT", "sys/policies/acl/signer", {"policy": json.dumps({"path": rules})})
    made = server.call("POST", "auth/token/create", {"policies": ["signer"], "ttl": ttl, **more})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "token"
    path.write_text(made["auth"]["client_token"])
    return path
