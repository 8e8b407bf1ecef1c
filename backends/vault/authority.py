"""The CA that Vault signs with: asked of the mount's or the issuer's public paths, learnt from each answer."""

import logging
from datetime import timedelta

from cryptography import x509

from backends.remote.authorities import Authorities, Authority
from backends.remote.parsing import certificates
from backends.remote.roots import RootsFile
from backends.vault.answers import Signed, issuers_text
from backends.vault.http import VaultHttp
from backends.vault.settings import VaultSettings
from signer.core.errors import BackendError, BackendUnavailable
from signer.core.ports import Clock
from signer.core.types import IssuerInfo, SigningRequest

_log = logging.getLogger("istio_signer.backend.vault")
_SHOWN = "the CA that Vault shows"
# ca_chain is empty where a root signs; then ca/pem has it. Neither needs a token.
_PATHS = ("ca_chain", "ca/pem")


class VaultAuthority:
    """What is known of the CA."""

    def __init__(self, settings: VaultSettings, http: VaultHttp, clock: Clock, name: str) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._file = RootsFile(settings.roots_file, name)
        self._known = Authorities()
        self._reached = False
        self._fault = "Vault has not been asked yet"

    def learn(self, answer: Signed, asked: SigningRequest) -> tuple[Authority, bool]:
        """Take note of the CA of an answer to what was asked; tell whether it is another one than before.

        Raises:
            BackendUnavailable: Its CA certificates are broken.
        """
        self._reached = True
        now = self._clock.now()
        return self._known.learn(answer.issuers_text, answer.issuers, answer.leaf, now, asked)

    async def refresh(self) -> bool:
        """Ask the mount, and read the roots' file; tell whether anything has changed. Never raises."""
        await self._file.refresh()
        changed = self._known.pin(self._file.roots)
        return await self._ask() or changed

    def info(self) -> IssuerInfo:
        """Describe the CA, as far as it is known: a mount may show it only in its answers.

        Raises:
            BackendUnavailable: Vault was never reached, and no file has roots.
        """
        info = self._known.info(self._clock.now())
        if not info.roots and not self._reached:
            raise BackendUnavailable(self._fault)
        return info

    @property
    def pinned(self) -> tuple[x509.Certificate, ...]:
        """The roots of the file; none where there is none."""
        return self._known.pinned

    def shown(self) -> tuple[x509.Certificate, ...]:
        """The CA and what is above it, as far as it is known; empty where it is not."""
        return self._known.info(self._clock.now()).chain

    def remaining(self) -> timedelta | None:
        """How long the CA's whole path will be valid; None where it is not known."""
        now = self._clock.now()
        span = self._known.info(now).window
        return span[1] - now if span else None

    async def _ask(self) -> bool:
        if self._settings.mount is None:
            self._reached = True
            return False
        try:
            text = await self._public_chain(self._settings.mount)
        except BackendError as error:
            self._fault = error.reason
            return False
        self._reached = True
        return bool(text) and self._take(text)

    async def _public_chain(self, mount: str) -> str:
        issuer = self._settings.issuer
        return await (self._chain_of(f"{mount}/issuer/{issuer}/json") if issuer else self._default_chain(mount))

    async def _chain_of(self, path: str) -> str:
        """Ask for an issuer that the path names: the mount's default one may never sign here. It needs no token."""
        reply = await self._http.call("GET", path, self._settings.timeout.total_seconds())
        if reply.status >= 500:
            raise BackendUnavailable(f"{path}: HTTP {reply.status}")
        data = reply.body.get("data")
        if reply.status != 200 or not isinstance(data, dict):
            return ""
        return issuers_text(data.get("certificate"), data.get("ca_chain"))

    async def _default_chain(self, mount: str) -> str:
        timeout = self._settings.timeout.total_seconds()
        for path in _PATHS:
            status, data = await self._http.fetch("GET", f"{mount}/{path}", timeout)
            if status >= 500:
                raise BackendUnavailable(f"{mount}/{path}: HTTP {status}")
            if status == 200 and data.strip():
                # As it would come in an answer, so that one CA is not taken for two.
                return data.decode("ascii", "replace").strip()
        return ""

    def _take(self, text: str) -> bool:
        try:
            return self._known.learn(text, lambda: certificates(text, _SHOWN), None, self._clock.now())[1]
        except BackendUnavailable as error:
            _log.error("%s", error.reason)
            return False
