"""What must be so before a mount's default issuer can be changed, each with the commands that make it so.

Source: Vault's API documentation of PKI, "Set issuers configuration", "Create/Update role" (``issuer_ref``).
"""

import shlex
from typing import Any

from backends.vault.operator import OperatorMount
from backends.vault.settings import VaultSettings
from signer.core.rotator import RotationRefused

_DEFAULT = ("", "default")


async def check_start(settings: VaultSettings, mount: OperatorMount) -> None:
    """Make sure that the default issuer signs, and that a new one would not sign at once.

    Raises:
        RotationRefused: It is not so.
    """
    if (settings.issuer or "") not in _DEFAULT:
        raise RotationRefused(
            f"the path {settings.path} names an issuer, and this program changes the mount's default one: leave "
            f"issuer/{settings.issuer} out of the path, or put issuer/default there"
        )
    config = await mount.get("config/issuers")
    if config.get("default_follows_latest_issuer"):
        raise RotationRefused(
            f"a new issuer would sign at once (default_follows_latest_issuer): {_default(mount, config.get('default'))}"
        )
    await check_role(settings, mount, config)


async def check_role(settings: VaultSettings, mount: OperatorMount, config: dict[str, Any]) -> None:
    """Make sure that the role has no issuer of its own, for it would go on with that one.

    A role that may not be read is taken for a good one.

    Raises:
        RotationRefused: It has one.
    """
    # An issuer in the path is stronger than the role's.
    role = None if settings.issuer else _role(settings)
    found = await mount.readable(f"roles/{role}") if role else None
    named = str((found or {}).get("issuer_ref") or "")
    if named in _DEFAULT:
        return
    issuer = await mount.find(f"issuer/{named}") or {}
    used = issuer.get("issuer_id")
    steps = [_default(mount, used)] if used and used != config.get("default") else []
    steps.append(f"vault patch {shlex.quote(f'{mount.path}/roles/{role}')} issuer_ref=default")
    raise RotationRefused(
        f"the role {mount.path}/roles/{role} signs with the issuer {named} and would go on with it: "
        + " && ".join(steps)
    )


def _role(settings: VaultSettings) -> str | None:
    parts = settings.path.split("/")
    return parts[-1] if len(parts) > 1 and parts[-2] in ("sign", "sign-verbatim") else None


def _default(mount: OperatorMount, issuer: object) -> str:
    path = shlex.quote(f"{mount.path}/config/issuers")
    return f"vault write {path} default={shlex.quote(str(issuer))} default_follows_latest_issuer=false"
