"""The keys of a ``type: vault`` backend, and what they must agree on."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from backends.intermediate.minting import IntermediateSettings

SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
DEFAULT_ROLE = "istio-ca"
Method = Literal["kubernetes", "jwt", "approle", "cert", "token"]
# What follows the mount in the paths of the PKI engine.
_PKI_VERBS = re.compile(r"(?P<mount>.+?)/(?:sign|sign-verbatim|issuer|root|intermediate)(?:/.*)?")


@dataclass(frozen=True, slots=True)
class VaultAuth:
    """How to log in.

    Attributes:
        method: ``kubernetes`` (the pod's own token), ``jwt``, ``approle``, ``cert`` (client certificate) or ``token``.
        mount: Where the method is mounted, without ``auth/``; its name where empty.
        role: The role to log in with; for ``kubernetes`` and ``jwt`` ``istio-ca`` where empty, for ``cert`` the name of
            the certificate's role, if any.
        token_file: The token of ``kubernetes``, ``jwt`` and ``token``, read anew at each login.
        role_id: For ``approle``.
        secret_id_file: For ``approle``, read anew at each login.
        certificate_file: For ``cert``: PEM, the client certificate.
        key_file: For ``cert``: PEM, its key.
    """

    method: Method = "kubernetes"
    mount: str = ""
    role: str = ""
    token_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        lacking = [name for name in _NEEDED[self.method] if not getattr(self, name)]
        if lacking:
            raise ValueError(f"method {self.method} needs {', '.join(lacking)}")

    @property
    def path(self) -> str:
        """The mount's path, such as ``kubernetes``."""
        return self.mount.strip("/").removeprefix("auth/").removesuffix("/login") or self.method

    @property
    def login_role(self) -> str:
        """The role to log in with; empty where the method has none."""
        return self.role or (DEFAULT_ROLE if self.method in ("kubernetes", "jwt") else "")

    @property
    def token_path(self) -> Path:
        """Where the token lies; for ``kubernetes`` the pod's own by default."""
        return self.token_file or SERVICE_ACCOUNT_TOKEN


_NEEDED: dict[Method, tuple[str, ...]] = {
    "kubernetes": (),
    "jwt": ("token_file",),
    "approle": ("role_id", "secret_id_file"),
    "cert": ("certificate_file", "key_file"),
    "token": ("token_file",),
}


@dataclass(frozen=True, slots=True)
class VaultIntermediateSettings(IntermediateSettings):
    """The ``intermediate`` section of a Vault backend.

    Attributes:
        sign_path: Where the CA is signed, such as ``pki/root/sign-intermediate``.
    """

    sign_path: str = ""


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """Keys of a ``type: vault`` backend.

    Attributes:
        address: Such as ``https://vault.vault.svc:8200``.
        sign_path: For ``mode: direct``: where CSRs are signed, such as ``pki/sign/istio-ca`` or ``pki/sign-verbatim``.
        auth: How to log in.
        namespace: Of Vault Enterprise or OpenBao; none where empty.
        ca_file: PEM, whom to trust for Vault's TLS; the system's CAs where none is given. Re-read when it changes.
        roots_file: PEM, the mesh's roots: where the mount does not hold them, as under an imported intermediate, or to
            believe no others. Re-read when it changes.
        allow_http: Let tokens and CSRs go over plain HTTP to another machine.
        timeout: For one signature.
        mode: ``direct`` signs each leaf in Vault, ``intermediate`` has Vault sign a CA that is kept in memory.
        intermediate: For ``mode: intermediate``.
    """

    address: str
    sign_path: str = ""
    auth: VaultAuth = field(default_factory=VaultAuth)
    namespace: str = ""
    ca_file: Path | None = None
    roots_file: Path | None = None
    allow_http: bool = False
    timeout: timedelta = timedelta(seconds=6)
    mode: Literal["direct", "intermediate"] = "direct"
    intermediate: VaultIntermediateSettings = field(default_factory=VaultIntermediateSettings)

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("address must be a URL such as https://vault.vault.svc:8200")
        if parts.scheme == "http" and not self.allow_http and not _is_loopback(parts.hostname):
            raise ValueError(
                f"address {self.address}: by http tokens can be read on the way; use https, or set allow_http: true"
            )
        if not self.path:
            example = "pki/sign/istio-ca" if self.mode == "direct" else "pki/root/sign-intermediate"
            raise ValueError(f"{self.path_key} is missing: the path that signs, such as {example}")
        if self.timeout <= timedelta(0):
            raise ValueError("timeout must be longer than zero")

    @property
    def path(self) -> str:
        """The path that signs in this mode, without slashes around it and without ``v1/``."""
        path = self.sign_path if self.mode == "direct" else self.intermediate.sign_path
        return path.strip("/").removeprefix("v1/")

    @property
    def path_key(self) -> str:
        """The key that holds that path."""
        return "sign_path" if self.mode == "direct" else "intermediate.sign_path"

    @property
    def mount(self) -> str | None:
        """The PKI engine's mount, where the path tells."""
        match = _PKI_VERBS.fullmatch(self.path)
        return match["mount"] if match else None

    @property
    def role(self) -> str | None:
        """The PKI role that signs; None for ``sign-verbatim`` and the like."""
        mount, path = self.mount, self.path
        tail = path[len(mount) + 1 :].split("/") if mount else []
        return tail[-1] if len(tail) >= 2 and tail[-2] == "sign" else None

    @property
    def issuer(self) -> str | None:
        """The issuer that the path names; where None the role's or the mount's default one signs."""
        mount, path = self.mount, self.path
        tail = path[len(mount) + 1 :].split("/") if mount else []
        return tail[1] if len(tail) >= 3 and tail[0] == "issuer" else None

    @property
    def is_verbatim(self) -> bool:
        """Whether leaves are signed just as their CSRs stand, without a role's rules."""
        return self.mode == "direct" and "sign-verbatim" in self.path.split("/")

    @property
    def makes_leaves_only(self) -> bool:
        """Whether the path is one of the PKI engine's that never make a CA."""
        verbs = self.path[len(self.mount) + 1 :].split("/") if self.mount else []
        return not {"sign", "sign-verbatim"}.isdisjoint(verbs[:1] + verbs[2:3])

    @property
    def base(self) -> str:
        """The URL before the API's paths."""
        return self.address.rstrip("/").removesuffix("/v1") + "/v1/"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
