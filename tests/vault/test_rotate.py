"""A real OpenBao's root is replaced: the new issuer signs nothing until it becomes the mount's default one."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.vault.live import TOKEN_VARIABLE
from backends.vault.rotate import VaultRotator
from backends.vault.settings import VaultAuth, VaultSettings
from signer.core.chain import fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions
from tests.vault.openbao import OpenBao
from tests.vault.test_signing import CLOCK

# The operator's token comes from the environment; the signer's own is not asked for.
TOKEN = VaultAuth("token", token_file=Path("/nowhere"))


def rotator(server: OpenBao, path: str = "pki/sign/istio-ca") -> VaultRotator:
    """The hands of an operator."""
    return VaultRotator(VaultSettings(server.address, path, TOKEN), BackendContext("vault", CLOCK), RotateOptions())


def default_issuer(server: OpenBao) -> str:
    """Its name."""
    return str(server.call("GET", "pki/issuer/default")["data"]["issuer_name"])


async def _steps(hands: VaultRotator, server: OpenBao) -> None:
    (old,) = await hands.current()
    rotation = Rotation("r", "vault", Phase.PREPARING, (old,), datetime.now(UTC))
    new = await hands.prepare(rotation)
    assert fingerprint(new) != fingerprint(old)
    assert default_issuer(server) == "", "the old one, which has no name"
    assert await hands.prepare(rotation) == new, "a step that died is done again"
    with pytest.raises(RotationRefused, match="somebody has made it the default again"):
        await hands.retire(rotation)
    await hands.switch(rotation)
    assert default_issuer(server) == "istio-signer-r"
    await hands.retire(rotation)
    await hands.close()


def test_a_mounts_default_issuer_is_replaced(
    new_server: Callable[[], OpenBao], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_server()
    monkeypatch.setenv(TOKEN_VARIABLE, server.root_token)
    asyncio.run(_steps(rotator(server), server))


def test_a_path_that_names_its_issuer_is_changed_by_hand(shared: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no default to change that it would heed."""
    monkeypatch.setenv(TOKEN_VARIABLE, shared.root_token)
    with pytest.raises(RotationRefused, match="names an issuer"):
        asyncio.run(rotator(shared, "pki/issuer/one/sign/istio-ca").current())


def test_without_an_operators_token_nothing_is_done(shared: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(RotationRefused, match="export VAULT_TOKEN with a token that may change pki's issuers"):
        asyncio.run(rotator(shared).current())
