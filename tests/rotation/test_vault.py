"""The hands of a rotation at a real OpenBao, with the policy of the docs and no other right."""

import re
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from backends.vault.live import TOKEN_VARIABLE
from backends.vault.rotate import VaultRotator
from backends.vault.settings import VaultAuth, VaultIntermediateSettings, VaultSettings
from signer.core.chain import pem
from signer.core.rotation import Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions
from tests.rotation.scene import CLOCK, begun, prepared, root_of
from tests.vault.mounts import ISTIO_ROLE, intermediate_mount, root_mount, second_issuer
from tests.vault.openbao import OpenBao

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backends.md"
CONTEXT = BackendContext("vault", CLOCK)
NewRotator = Callable[..., VaultRotator]


def run(server: OpenBao, command: str) -> None:
    """Paste a command into the shell of Vault's operator."""
    subprocess.run(["/bin/sh", "-ec", command], env=server.environment(), check=True, timeout=30, capture_output=True)


def operator_token(server: OpenBao, mount: str) -> str:
    """A token of the page's policy, word for word but for the mount, and of no other: not even the default one."""
    (command,) = re.findall(r"\$ (vault policy write istio-rotate-root .*?)\n```", PAGE.read_text(), re.DOTALL)
    run(server, command.replace('"pki/', f'"{mount}/').replace("write istio-rotate-root", f"write rotate-{mount}"))
    wish = {"policies": [f"rotate-{mount}"], "no_default_policy": True, "ttl": "1h"}
    token: str = server.call("POST", "auth/token/create", wish)["auth"]["client_token"]
    return token


def vault_settings(server: OpenBao, path: str, **more: Any) -> VaultSettings:
    """The signer's; its own token is not there, and need not be."""
    return VaultSettings(server.address, path, VaultAuth("token", token_file=Path("/nonexistent")), **more)


def default(server: OpenBao, mount: str) -> str:
    """Which issuer signs."""
    found: str = server.call("GET", f"{mount}/config/issuers")["data"]["default"]
    return found


def issuers(server: OpenBao, mount: str) -> int:
    """How many there are."""
    return len(server.call("LIST", f"{mount}/issuers")["data"]["keys"])


def shown(server: OpenBao, mount: str, name: str = "default") -> x509.Certificate:
    """An issuer's certificate."""
    return root_of(server.call("GET", f"{mount}/issuer/{name}")["data"]["certificate"])


@pytest.fixture
def mount(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> str:
    """A root mount of the test's own, whose operator's token is exported."""
    name = f"pki-{uuid.uuid4().hex[:8]}"
    root_mount(bao, name)
    monkeypatch.setenv(TOKEN_VARIABLE, operator_token(bao, name))
    return name


@pytest.fixture
async def rotator(bao: OpenBao, mount: str) -> AsyncIterator[NewRotator]:
    """A function that makes the hands for the test's mount, closed at its end."""
    made: list[VaultRotator] = []

    def make(path: str = "", options: RotateOptions | None = None, **more: Any) -> VaultRotator:
        settings = vault_settings(bao, path or f"{mount}/sign/istio-ca", **more)
        made.append(VaultRotator(settings, CONTEXT, options or RotateOptions()))
        return made[-1]

    yield make
    for hands in made:
        await hands.close()


async def test_each_step_twice(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    hands, old = rotator(), shown(bao, mount)
    before = default(bao, mount)
    rotation = await prepared(hands, await begun(hands, "twice"))
    assert (rotation.old, default(bao, mount), issuers(bao, mount)) == ((old,), before, 2)
    for _ in range(2):
        await hands.switch(rotation)
        assert shown(bao, mount) == rotation.new
    for _ in range(2):
        await hands.retire(rotation)
    assert (await hands.current(), issuers(bao, mount)) == ((rotation.new,), 2)


async def test_what_was_made_is_taken_away_twice(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    hands = rotator()
    rotation = await prepared(hands, await begun(hands, "gone"))
    for _ in range(2):
        await hands.discard(rotation)
        assert (issuers(bao, mount), len(bao.call("LIST", f"{mount}/keys")["data"]["keys"])) == (1, 1)
    assert await hands.current() == rotation.old


async def test_a_try_that_died_after_it_made_the_key(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    hands = rotator()
    key = {"key_name": "istio-signer-died", "key_type": "ec", "key_bits": 256}
    bao.call("POST", f"{mount}/keys/generate/internal", key)
    rotation = await prepared(hands, await begun(hands, "died"))
    await hands.switch(rotation)
    assert shown(bao, mount) == rotation.new
    assert len(bao.call("LIST", f"{mount}/keys")["data"]["keys"]) == 2


async def test_an_abort_that_died_in_the_middle(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    hands = rotator()
    rotation = await prepared(hands, await begun(hands, "half"))
    bao.call("DELETE", f"{mount}/issuer/istio-signer-half")
    await hands.discard(rotation)
    assert len(bao.call("LIST", f"{mount}/keys")["data"]["keys"]) == 1


async def test_what_signs_is_never_taken_away(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    hands = rotator()
    rotation = await prepared(hands, await begun(hands, "in-use"))
    await hands.switch(rotation)
    with pytest.raises(RotationRefused, match="make the old issuer its default one first"):
        await hands.discard(rotation)
    assert shown(bao, mount) == rotation.new


async def test_the_old_root_stays_where_somebody_has_switched_back(
    bao: OpenBao, mount: str, rotator: NewRotator
) -> None:
    hands, before = rotator(), default(bao, mount)
    rotation = await prepared(hands, await begun(hands, "back"))
    await hands.switch(rotation)
    bao.call("POST", f"{mount}/config/issuers", {"default": before})
    with pytest.raises(RotationRefused, match="somebody has made another one the default"):
        await hands.retire(rotation)


def advice(refusal: pytest.ExceptionInfo[RotationRefused]) -> str:
    """The commands at the end of a refusal."""
    return "vault " + str(refusal.value).partition(": vault ")[2]


async def test_a_mount_that_signs_with_whatever_is_newest(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    hands, before = rotator(), default(bao, mount)
    bao.call("POST", f"{mount}/config/issuers", {"default": before, "default_follows_latest_issuer": True})
    with pytest.raises(RotationRefused, match="would sign at once") as refused:
        await hands.current()
    run(bao, advice(refused))
    await prepared(hands, await begun(hands, "calm"))
    assert default(bao, mount) == before


@pytest.mark.parametrize("path", ["sign", "sign-verbatim"])
@pytest.mark.parametrize("used", ["default", "another"])
async def test_a_role_with_an_issuer_of_its_own(
    bao: OpenBao, mount: str, rotator: NewRotator, path: str, used: str
) -> None:
    """It would go on with the old one; the commands keep the issuer that signs, and the rest of the role."""
    if used == "default":
        bao.call("POST", f"{mount}/issuer/default", {"issuer_name": "mesh"})
    else:
        second_issuer(bao, mount, "mesh")
    bao.call("POST", f"{mount}/roles/istio-ca", ISTIO_ROLE | {"issuer_ref": "mesh"})
    hands, signs = rotator(f"{mount}/{path}/istio-ca"), shown(bao, mount, "mesh")
    with pytest.raises(RotationRefused, match="signs with the issuer mesh and would go on with it") as refused:
        await hands.current()
    run(bao, advice(refused))
    assert await hands.current() == (signs,)
    role = bao.call("GET", f"{mount}/roles/istio-ca")["data"]
    assert (role["issuer_ref"], role["allowed_uri_sans"]) == ("default", ISTIO_ROLE["allowed_uri_sans"])


async def test_a_role_that_was_changed_meanwhile_stops_the_switch(
    bao: OpenBao, mount: str, rotator: NewRotator
) -> None:
    hands, before = rotator(), default(bao, mount)
    rotation = await prepared(hands, await begun(hands, "meanwhile"))
    bao.call("POST", f"{mount}/roles/istio-ca", ISTIO_ROLE | {"issuer_ref": before})
    with pytest.raises(RotationRefused, match="would go on with it"):
        await hands.switch(rotation)
    assert default(bao, mount) == before


async def test_a_role_that_may_not_be_read_stops_nothing(
    bao: OpenBao, mount: str, rotator: NewRotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = f'path "{mount}/config/issuers" {{ capabilities = ["read"] }}\n'
    run(bao, f'vault policy write blind - <<\'EOF\'\n{rule}path "{mount}/issuer/*" {{ capabilities = ["read"] }}\nEOF')
    made = bao.call("POST", "auth/token/create", {"policies": ["blind"], "ttl": "1h"})
    monkeypatch.setenv(TOKEN_VARIABLE, made["auth"]["client_token"])
    hands = rotator()
    assert await hands.current() == (shown(bao, mount),)
    with pytest.raises(RotationRefused, match=f"HTTP 403: .*does the policy of {TOKEN_VARIABLE} allow it"):
        await hands.prepare(await begun(hands, "blind"))


async def test_paths_that_name_an_issuer(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    with pytest.raises(RotationRefused, match="leave issuer/mesh out of the path"):
        await rotator(f"{mount}/issuer/mesh/sign/istio-ca").current()
    hands = rotator(f"{mount}/issuer/default/sign/istio-ca")
    assert await hands.current() == (shown(bao, mount),)
    with pytest.raises(RotationRefused, match="does not tell which PKI mount"):
        await rotator("somewhere").current()


async def test_without_a_token(mount: str, rotator: NewRotator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE)
    with pytest.raises(RotationRefused, match=f"export {TOKEN_VARIABLE} with a token that may change the issuers of"):
        await rotator().current()


async def test_an_issuer_that_is_not_there_or_cannot_sign(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    hands = rotator(options=RotateOptions(issuer="absent"))
    with pytest.raises(RotationRefused, match="has no issuer 'absent'"):
        await hands.current()
    second_issuer(bao, mount, "readonly")
    bao.call("POST", f"{mount}/issuer/readonly", {"issuer_name": "readonly", "usage": "read-only"})
    again = rotator(options=RotateOptions(issuer="readonly"))
    with pytest.raises(RotationRefused, match="cannot sign: no key, or no usage issuing-certificates"):
        await again.current()


async def test_an_issuer_of_the_operators_is_taken_and_left(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    new = root_of(second_issuer(bao, mount, "next"))
    hands = rotator(options=RotateOptions(issuer="next"))
    rotation = await prepared(hands, await begun(hands, "named", "next"))
    assert rotation.new == new
    await hands.discard(rotation)
    assert issuers(bao, mount) == 2
    await hands.switch(rotation)
    await hands.retire(rotation)
    assert shown(bao, mount) == new


def second_intermediate(server: OpenBao, mount: str, parent: str, name: str, *, whole: bool) -> None:
    """Give a mount one more intermediate, signed by another root; with that root or without."""
    ask = {"common_name": f"{name} CA", "key_type": "ec", "key_bits": 256}
    csr = server.call("POST", f"{mount}/intermediate/generate/internal", ask)["data"]["csr"]
    signed = server.call("POST", f"{parent}/root/sign-intermediate", {"csr": csr, "ttl": "8760h"})["data"]
    bundle = signed["certificate"] + ("\n" + signed["issuing_ca"] if whole else "")
    made = server.call("POST", f"{mount}/issuers/import/bundle", {"pem_bundle": bundle})["data"]
    own = next(key for key, value in made["mapping"].items() if value)
    server.call("POST", f"{mount}/issuer/{own}", {"issuer_name": name})


@pytest.mark.parametrize("whole", [True, False])
async def test_a_mount_with_an_intermediate(
    bao: OpenBao, mount: str, rotator: NewRotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    inner, other = f"{mount}-int", f"{mount}-other"
    intermediate_mount(bao, inner, mount)
    root_mount(bao, other)
    second_intermediate(bao, inner, other, "next", whole=whole)
    monkeypatch.setenv(TOKEN_VARIABLE, operator_token(bao, inner))
    new, path = shown(bao, other), f"{inner}/sign/istio-ca"
    if not whole:
        with pytest.raises(RotationRefused, match=r"issuer next leads to 0 roots: name .* with --root"):
            await rotator(path, RotateOptions(issuer="next")).current()
    (tmp_path / "wrong.pem").write_text(pem(shown(bao, mount)))
    with pytest.raises(RotationRefused, match="is not under the root"):
        await rotator(path, RotateOptions(issuer="next", root_file=tmp_path / "wrong.pem")).current()
    (tmp_path / "next.pem").write_text(pem(new))
    hands = rotator(path, RotateOptions(issuer="next", root_file=tmp_path / "next.pem"))
    rotation = await prepared(hands, await begun(hands, "inner", "next"))
    assert (rotation.old, rotation.new) == ((shown(bao, mount),), new)
    for _ in range(2):
        await hands.switch(rotation)
    for _ in range(2):
        await hands.retire(rotation)
    assert shown(bao, inner).issuer == new.subject


async def test_a_file_of_roots_decides_when_to_go_on(
    bao: OpenBao, mount: str, rotator: NewRotator, tmp_path: Path
) -> None:
    """The signer believes nothing else: it must know the new root before the switch, and not the old one after all."""
    file, old = tmp_path / "roots.pem", pem(shown(bao, mount))
    hands = rotator(roots_file=file)
    with pytest.raises(RotationRefused, match="run this where the signer has it"):
        await hands.current()
    file.write_text(old)
    rotation = await prepared(hands, await begun(hands, "file"))
    with pytest.raises(RotationRefused, match="lacks the new root"):
        await hands.switch(rotation)
    file.write_text(old + pem(must(rotation)))
    assert await hands.current() == rotation.old, "what is added already is not what signs"
    await hands.switch(rotation)
    with pytest.raises(RotationRefused, match="still holds the old root"):
        await hands.retire(rotation)
    file.write_text(pem(must(rotation)))
    await hands.retire(rotation)


def must(rotation: Rotation) -> x509.Certificate:
    """The new root, which is there."""
    assert rotation.new is not None
    return rotation.new


async def test_a_ca_in_memory_is_of_the_same_mount(bao: OpenBao, mount: str, rotator: NewRotator) -> None:
    plan = VaultIntermediateSettings(sign_path=f"{mount}/root/sign-intermediate")
    hands = rotator("unused", mode="intermediate", intermediate=plan)
    rotation = await prepared(hands, await begun(hands, "memory"))
    await hands.switch(rotation)
    assert shown(bao, mount) == rotation.new
