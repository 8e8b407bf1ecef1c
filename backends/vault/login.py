"""The ways to log in, each a function of hvac's client; they block, and run in a thread of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac.exceptions import (
    BadGateway,
    Forbidden,
    InternalServerError,
    InvalidRequest,
    RateLimitExceeded,
    Unauthorized,
    VaultDown,
    VaultError,
    VaultNotInitialized,
)

from backends.vault.settings import Method, VaultAuth, VaultSettings
from signer.core.types import Secret

MAX_FILE_BYTES = 64 * 1024
# What hvac raises: refusals, no connection, and answers that are none of Vault's.
_FAULTS = (VaultError, requests.RequestException, KeyError, TypeError, ValueError)
_REFUSALS = (InvalidRequest, Unauthorized, Forbidden)
_ABSENCES = (
    requests.ConnectionError,
    requests.Timeout,
    RateLimitExceeded,
    InternalServerError,
    VaultNotInitialized,
    BadGateway,
    VaultDown,
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A token and how long it lives.

    Attributes:
        seconds: From when it was given; 0 means without end.
        renewable: Whether Vault would prolong it.
        ours: Whether a login made it, so that it is to be revoked at the end.
    """

    token: Secret
    seconds: float
    renewable: bool
    ours: bool = True


class Why(Enum):
    """Where a login failed."""

    SETUP = "here"
    """A file, a certificate, an address that is none of Vault's."""
    REFUSED = "in Vault"
    """It has judged the credential or the role, and is against it."""
    NO_ANSWER = "on the way"
    """No connection, or a server that cannot answer now."""


class LoginFailed(Exception):
    """No token; the message says why, and quotes no credential."""

    def __init__(self, text: str, why: Why = Why.SETUP) -> None:
        super().__init__(text)
        self.why = why


def log_in(settings: VaultSettings, timeout: float) -> Lease:
    """Log in by the configured method. Blocks, each step for ``timeout`` seconds at most.

    Raises:
        LoginFailed: A file is missing, Vault refuses, or there is no connection.
    """
    try:
        with _client(settings, timeout) as client:
            return _METHODS[settings.auth.method](client, settings.auth)
    except _FAULTS as error:
        raise _failed(settings.auth, error) from None


def renew(settings: VaultSettings, lease: Lease, timeout: float) -> Lease:
    """Prolong a lease. Blocks. Errors: as ``log_in``."""
    try:
        with _client(settings, timeout, lease.token) as client:
            answer = client.auth.token.renew_self()["auth"]
        return Lease(lease.token, float(answer["lease_duration"]), bool(answer["renewable"]), lease.ours)
    except _FAULTS as error:
        raise _failed(settings.auth, error) from None


def revoke(settings: VaultSettings, lease: Lease, timeout: float) -> None:
    """Give a token back. Blocks. Errors: as ``log_in``."""
    try:
        with _client(settings, timeout, lease.token) as client:
            client.auth.token.revoke_self()
    except _FAULTS as error:
        raise _failed(settings.auth, error) from None


@contextmanager
def _client(settings: VaultSettings, timeout: float, token: Secret | None = None) -> Iterator[Any]:
    """hvac's client, over connections that are closed at the end."""
    session = requests.Session()
    session.trust_env = False
    session.verify = str(settings.ca_file) if settings.ca_file else True
    auth = settings.auth
    pair = (str(auth.certificate_file), str(auth.key_file)) if auth.certificate_file else None
    session.cert = pair
    with session:
        yield hvac.Client(
            url=settings.base.removesuffix("/v1/"),
            token=token.reveal() if token else "",
            namespace=settings.namespace or None,
            timeout=timeout,
            allow_redirects=False,
            session=session,
            verify=session.verify,
            cert=pair,
        )


def _kubernetes(client: Any, auth: VaultAuth) -> Lease:
    jwt = _text(auth.token_path)
    return _granted(client.auth.kubernetes.login(auth.login_role, jwt, use_token=False, mount_point=auth.path))


def _jwt(client: Any, auth: VaultAuth) -> Lease:
    return _granted(client.auth.jwt.jwt_login(auth.login_role, _text(auth.token_path), use_token=False, path=auth.path))


def _approle(client: Any, auth: VaultAuth) -> Lease:
    secret = _text(auth.secret_id_file) if auth.secret_id_file else ""
    return _granted(client.auth.approle.login(auth.role_id, secret, use_token=False, mount_point=auth.path))


def _cert(client: Any, auth: VaultAuth) -> Lease:
    answer = client.auth.cert.login(
        name=auth.role,
        cert_pem=str(auth.certificate_file),
        key_pem=str(auth.key_file),
        mount_point=auth.path,
        use_token=False,
    )
    return _granted(answer)


def _token(client: Any, auth: VaultAuth) -> Lease:
    """A token that somebody else looks after; looked up, so that its end is known."""
    client.token = _text(auth.token_path)
    data = client.auth.token.lookup_self()["data"]
    return Lease(Secret(client.token), float(data["ttl"]), bool(data.get("renewable")), ours=False)


_METHODS: dict[Method, Callable[[Any, VaultAuth], Lease]] = {
    "kubernetes": _kubernetes,
    "jwt": _jwt,
    "approle": _approle,
    "cert": _cert,
    "token": _token,
}


def _granted(answer: Any) -> Lease:
    auth = answer["auth"]
    return Lease(Secret(str(auth["client_token"])), float(auth["lease_duration"]), bool(auth["renewable"]))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode("ascii").strip()
    except OSError as error:
        raise LoginFailed(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoginFailed(f"{path}: holds no token") from None
    if not text:
        raise LoginFailed(f"{path}: is empty")
    return text


def _failed(auth: VaultAuth, error: Exception) -> LoginFailed:
    # An untrusted certificate is a connection error to the library; trying again does not mend it.
    if isinstance(error, _ABSENCES) and not isinstance(error, requests.exceptions.SSLError):
        return LoginFailed(_reason(auth, error), Why.NO_ANSWER)
    return LoginFailed(_reason(auth, error), Why.REFUSED if isinstance(error, _REFUSALS) else Why.SETUP)


def _reason(auth: VaultAuth, error: Exception) -> str:
    """The class and Vault's own list of errors, cut: the text of other exceptions may hold a URL or a credential."""
    where = f"login by {auth.method} at auth/{auth.path}"
    if isinstance(error, requests.exceptions.SSLError):
        return f"{where}: Vault's certificate is not trusted: see ca_file"
    words = getattr(error, "errors", None)
    texts = [str(w) for w in words] if isinstance(words, list) else []
    return f"{where}: {type(error).__name__}{f': {chr(32).join(texts)[:200]!a}' if texts else ''}"
