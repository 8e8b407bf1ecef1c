"""``istio-signer check --live`` for Vault: what keeps it from signing, each with the command that mends it."""

import asyncio
import os
import shlex
from typing import Any

from backends.vault.answers import fault
from backends.vault.backend import health
from backends.vault.http import VaultHttp
from backends.vault.login import Lease, LoginFailed, Why, log_in, revoke
from backends.vault.policy import ASK, allowed, policy_fix
from backends.vault.role import Wish, blind_fix, faults, fix, write
from backends.vault.settings import VaultAuth, VaultSettings
from signer.core.errors import BackendError
from signer.core.spec import BackendContext, Finding, NoAnswer
from signer.core.types import Secret

_SECONDS = 5.0
# Only here: an operator's own token may read what the signer's must not.
TOKEN_VARIABLE = "VAULT_TOKEN"  # noqa: S105  the name, not the token


async def check_live(settings: VaultSettings, context: BackendContext) -> list[Finding]:
    """Ask Vault: is it up, does the login work, may it sign, does the role sign Istio's CSRs?"""
    http = VaultHttp(settings)
    try:
        return await _Check(settings, context, http).run()
    finally:
        await http.close()


class _Check:
    def __init__(self, settings: VaultSettings, context: BackendContext, http: VaultHttp) -> None:
        self._settings = settings
        self._context = context
        self._http = http
        self._where = f"backends.{context.name}"

    async def run(self) -> list[Finding]:
        try:
            error = fault(await health(self._http), "sys/health")
        except BackendError as caught:
            error = caught
        if error is not None:
            return [NoAnswer("error", f"{self._where}.address", error.reason)]
        login, lease = await self._login()
        try:
            may = await self._may_sign(lease.token) if lease is not None else []
            return [*login, *may, *await self._looked_up(lease)]
        finally:
            if lease is not None and lease.ours:
                await asyncio.to_thread(_give_back, self._settings, lease)

    async def _login(self) -> tuple[list[Finding], Lease | None]:
        where, auth = f"{self._where}.auth", self._settings.auth
        try:
            lease = await asyncio.to_thread(log_in, self._settings, _SECONDS)
        except LoginFailed as error:
            return [_no_login(where, auth, error)], None
        span = f"{lease.seconds:.0f} s" if lease.seconds else "ever"
        return [Finding("ok", where, f"login by {auth.method} works, for {span}")], lease

    async def _may_sign(self, token: Secret) -> list[Finding]:
        """Ask with the signer's own token: an operator's stronger one says nothing of it."""
        path, where = self._settings.path, f"{self._where}.{self._settings.path_key}"
        try:
            reply = await self._http.call("POST", ASK, _SECONDS, {"paths": [path]}, token)
        except BackendError as error:
            return [NoAnswer("error", where, f"{ASK}: {error.reason}")]
        may = allowed(reply, path)
        if may is None:
            return [Finding("ok", where, f"{path}: this login may not ask whether it may sign there")]
        if may:
            return [Finding("ok", where, f"{path}: a policy of this login allows update")]
        own = await self._read("auth/token/lookup-self", token) or {}
        policies = [str(name) for name in own.get("policies") or []]
        text = (
            f"{path}: no policy of this login allows update there; its policies: {', '.join(policies) or 'unknown'}. "
            "This adds the right to one of them (not where it is JSON), or makes one for the login's role to name:"
        )
        return [Finding("error", where, text, policy_fix(policies, path))]

    async def _looked_up(self, lease: Lease | None) -> list[Finding]:
        stronger = os.environ.get(TOKEN_VARIABLE, "").strip()
        token = Secret(stronger) if stronger else lease.token if lease else None
        if token is None:
            return []
        mount, role = self._settings.mount, self._settings.role
        found = await self._read(f"{mount}/roles/{role}", token) if role else None
        issuer = await self._issuer(token, found or {}) if mount else []
        return [*self._role(found), *issuer, *await self._reviewer(token)]

    async def _read(self, path: str, token: Secret) -> dict[str, Any] | None:
        """What lies at a path; None where it may not be read."""
        try:
            reply = await self._http.call("GET", path, _SECONDS, None, token)
        except BackendError:
            return None
        data = reply.body.get("data")
        return data if reply.status == 200 and isinstance(data, dict) else None

    def _role(self, found: dict[str, Any] | None) -> list[Finding]:
        mount, role = self._settings.mount, self._settings.role
        if mount is None or role is None or self._settings.mode == "intermediate":
            return []
        path, where = f"{mount}/roles/{role}", f"{self._where}.{self._settings.path_key}"
        wish = self._wish()
        if found is None:
            text = (
                f"{path} may not be read with this login, as it should be; export {TOKEN_VARIABLE} with a token that "
                "may, and run this again. Or write the role anew for Istio, losing what stands there:"
            )
            return [Finding("warning", where, text, blind_fix(path, wish))]
        broken = faults(found, wish)
        if not broken:
            return [Finding("ok", where, f"{path} signs what proxies ask for")]
        told = [Finding(f.rule.level, where, f"{path}: {f.rule.key} is {f.found!a}: {f.rule.why}") for f in broken]
        last = told[-1]
        return [*told[:-1], Finding(last.level, last.where, f"{last.text}. All of these:", fix(path, found, broken))]

    def _wish(self) -> Wish:
        return Wish(self._context.trust_domain, self._context.max_ttl, self._context.serving)

    async def _issuer(self, token: Secret, role: dict[str, Any]) -> list[Finding]:
        """By default Vault refuses what would outlive its CA, instead of shortening it (leaf_not_after_behavior)."""
        issuer = self._settings.issuer or role.get("issuer_ref") or "default"
        path = f"{self._settings.mount}/issuer/{issuer}"
        found = await self._read(path, token)
        if found is None or found.get("leaf_not_after_behavior") != "err":
            return []
        text = (
            f"{path}: leaf_not_after_behavior is err; the signer asks for no more than the CA has left, but a CA that "
            "was changed a moment ago may refuse"
        )
        # Not "write": it would empty the fields that it does not name, such as where CRLs are found.
        command = f"vault patch {shlex.quote(path)} leaf_not_after_behavior=truncate"
        return [Finding("warning", f"{self._where}.{self._settings.path_key}", text, command)]

    async def _reviewer(self, token: Secret) -> list[Finding]:
        auth = self._settings.auth
        if auth.method != "kubernetes":
            return []
        path = f"auth/{auth.path}/config"
        found = await self._read(path, token)
        if not found or not found.pop("token_reviewer_jwt_set", False):
            return []
        text = (
            f"{path} holds a token_reviewer_jwt: tokens of pods end within hours or a year, and then "
            "every login fails. Let Vault use its own pod's token, or the client's:"
        )
        return [Finding("warning", f"{self._where}.auth", text, write(path, found))]


def _give_back(settings: VaultSettings, lease: Lease) -> None:
    try:
        revoke(settings, lease, 2.0)
    except LoginFailed:
        return


def _no_login(where: str, auth: VaultAuth, error: LoginFailed) -> Finding:
    """Advise to write the role only where Vault itself was against it: a good one would lose what stands there."""
    if error.why is Why.NO_ANSWER:
        return NoAnswer("error", where, str(error))
    if error.why is not Why.REFUSED or auth.method != "kubernetes":
        return Finding("error", where, str(error))
    text = (
        f"{error}. Where the role {auth.login_role} does not bind the signer's account, write it anew; it is replaced "
        "whole, so let policies be those that it has now:"
    )
    return Finding("error", where, text, _login_fix(auth))


def _login_fix(auth: VaultAuth) -> str:
    """For guides that bind istiod's account, not the signer's."""
    return (
        f"vault write auth/{auth.path}/role/{auth.login_role} bound_service_account_names=istio-signer "
        f"bound_service_account_namespaces=istio-system policies={auth.login_role} ttl=1h"
    )
