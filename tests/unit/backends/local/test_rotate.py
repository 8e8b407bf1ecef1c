"""The hands of a local CA's rotation, over real files: under both sets of names, and after a death at any file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from backends.local import places
from backends.local.backend import LocalSettings
from backends.local.ca import load_ca
from backends.local.files import read_files
from backends.local.rotate import LocalRotator
from signer.core.chain import fingerprint
from signer.core.rotation import Phase, Rotation
from signer.core.rotator import RotationRefused
from signer.core.spec import BackendContext, RotateOptions
from tests.support.ca_files import cacerts, encrypted, mount, tls_secret, write
from tests.support.clock import NOW, FakeClock
from tests.support.pki import Ca, make_ca

OLD, NEW, OTHER = make_ca("old root"), make_ca("new root"), make_ca("other root")
OLD_CA = make_ca("old ca", OLD)
MIDDLE = make_ca("new middle", NEW)
NEW_CA = make_ca("new ca", MIDDLE)
LAYOUTS = {"cacerts": cacerts, "tls": tls_secret}
ROTATION = Rotation("r1", "local", Phase.PREPARING, (OLD.certificate,), NOW)


def hands(directory: Path, following: Path | None = None, password_file: Path | None = None) -> LocalRotator:
    """A rotator of a directory; without ``following`` it makes the CA."""
    options = RotateOptions(next_directory=following, root_directory=directory.parent / "offline")
    return LocalRotator(LocalSettings(directory, password_file), BackendContext("local", FakeClock()), options)


def roots(directory: Path, password_file: Path | None = None) -> set[str]:
    """What the backend vouches for; fails where it would refuse the files."""
    return {fingerprint(c) for c in load_ca(read_files(directory, password_file), NOW).bundle.roots}


async def through(rotator: LocalRotator) -> Rotation:
    """Prepare and switch."""
    rotation = replace(ROTATION, new=await rotator.prepare(ROTATION))
    await rotator.switch(rotation)
    return rotation


@pytest.mark.parametrize("old", LAYOUTS)
@pytest.mark.parametrize("new", LAYOUTS)
async def test_a_chain_comes_along_whatever_the_names(tmp_path: Path, old: str, new: str) -> None:
    """In a TLS Secret certificate and chain are one file: what is between it and its root must not be lost."""
    used = write(tmp_path / "ca", LAYOUTS[old](OLD_CA, [], [OLD]))
    rotator = hands(used, write(tmp_path / "next", LAYOUTS[new](NEW_CA, [MIDDLE], [NEW])))
    rotation = await through(rotator)
    assert load_ca(read_files(used, None), NOW).chain == (NEW_CA.certificate, MIDDLE.certificate)
    assert roots(used) == {fingerprint(OLD.certificate), fingerprint(NEW.certificate)}
    await rotator.retire(rotation)
    assert roots(used) == {fingerprint(NEW.certificate)}
    assert {path.name for path in used.iterdir()} == set(LAYOUTS[old](OLD_CA, [], [OLD]))


async def test_a_next_ca_without_a_chain_file(tmp_path: Path) -> None:
    """It signs right under its root, or is it: ``cert-chain.pem`` may be missing."""
    used = write(tmp_path / "ca", cacerts(OLD_CA, [], [OLD]))
    following = cacerts(NEW, [], [])
    del following["cert-chain.pem"]
    await through(hands(used, write(tmp_path / "next", following)))
    assert roots(used) == {fingerprint(OLD.certificate), fingerprint(NEW.certificate)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("written", range(4))
async def test_a_switch_that_died(tmp_path: Path, layout: str, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each file; between certificate and key no CA can be read from them."""
    used = write(tmp_path / "ca", LAYOUTS[layout](OLD_CA, [], [OLD]))
    rotator = hands(used, write(tmp_path / "next", cacerts(NEW_CA, [MIDDLE], [NEW])))
    rotation = replace(ROTATION, new=await rotator.prepare(ROTATION))
    save, left = places.DirectoryPlace._save, written

    def some(self: places.DirectoryPlace, changes: Mapping[str, bytes | None]) -> None:
        save(self, dict(list(changes.items())[:left]))
        raise OSError(28, "No space left on device", "ca-key.pem")

    with monkeypatch.context() as patch:
        patch.setattr(places.DirectoryPlace, "_save", some)
        with pytest.raises(RotationRefused, match="No space left"):
            await rotator.switch(rotation)
    await rotator.switch(rotation)
    assert load_ca(read_files(used, None), NOW).certificate == NEW_CA.certificate
    assert roots(used) == {fingerprint(OLD.certificate), fingerprint(NEW.certificate)}


async def test_a_next_ca_that_nobody_trusts_does_not_take_over(tmp_path: Path) -> None:
    """Two prepared at once, and the files are the loser's."""
    before = cacerts(OLD_CA, [], [OLD])
    used = write(tmp_path / "ca", before)
    rotator = hands(used, write(tmp_path / "next", cacerts(NEW_CA, [MIDDLE], [NEW])))
    await rotator.prepare(ROTATION)
    with pytest.raises(RotationRefused, match="which everybody trusts by now"):
        await rotator.switch(replace(ROTATION, new=OTHER.certificate))
    assert {name: (used / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("step", ["retire", "discard"])
async def test_half_a_key_goes_too(tmp_path: Path, step: str) -> None:
    """What a write that died has left holds a key."""
    used = write(tmp_path / "ca", cacerts(OLD_CA, [], [OLD]))
    rotator = hands(used)
    rotation = await through(rotator)
    (used / ".rotation-r1-ca-key.pem.partial").write_bytes(b"half a key")
    (used / "rotation-r2-ca-key.pem").write_bytes(b"another rotation's")
    await getattr(rotator, step)(rotation)
    assert {p.name for p in used.iterdir() if "rotation" in p.name} == {"rotation-r2-ca-key.pem"}


async def test_an_encrypted_ca_gets_an_encrypted_one(tmp_path: Path) -> None:
    """Under the same password; the root's key too."""
    password = tmp_path / "password"
    password.write_text("secret\n")
    files = cacerts(OLD_CA, [], [OLD]) | {"ca-key.pem": encrypted(OLD_CA.key, b"secret")}
    used = write(tmp_path / "ca", files)
    rotation = await through(hands(used, password_file=password))
    assert rotation.new is not None
    assert fingerprint(rotation.new) in roots(used, password)
    for key in (used / "ca-key.pem", tmp_path / "offline" / "root-r1" / "root-key.pem"):
        assert b"ENCRYPTED" in key.read_bytes()
        assert key.stat().st_mode & 0o077 == 0 or key.parent == used


def _refusals(directory: Path) -> dict[str, tuple[Path, Path | None]]:
    mount(directory / "mounted", cacerts(OLD_CA, [], [OLD]))
    plain = write(directory / "ca", cacerts(OLD_CA, [], [OLD]))
    return {
        "is mounted from a Secret: name it with --secret": (directory / "mounted", None),
        "no CA to rotate": (write(directory / "empty", {}), None),
        "cannot be read": (directory / "nowhere", None),
        "under the same root": (plain, write(directory / "same", cacerts(make_ca("ca 2", OLD), [], [OLD]))),
        "must hold its one root; it holds 2": (
            plain,
            write(directory / "two", cacerts(NEW_CA, [MIDDLE], [NEW, OTHER])),
        ),
        "is not the key of": (plain, write(directory / "mixed", cacerts(Ca(NEW.certificate, OLD.key), [], [NEW]))),
    }


@pytest.mark.parametrize(
    "why",
    [
        "is mounted from a Secret: name it with --secret",
        "no CA to rotate",
        "cannot be read",
        "under the same root",
        "must hold its one root; it holds 2",
        "is not the key of",
    ],
)
async def test_refusals(tmp_path: Path, why: str) -> None:
    """And nothing is changed."""
    directory, following = _refusals(tmp_path)[why]
    before = sorted(directory.iterdir()) if directory.exists() else []
    with pytest.raises(RotationRefused, match=why):
        await hands(directory, following).prepare(ROTATION)
    assert (sorted(directory.iterdir()) if directory.exists() else []) == before


async def test_what_the_operator_brings_is_not_made_here_instead(tmp_path: Path) -> None:
    """A start that died, taken up again by a command that does not name the directory: nobody asked for another CA."""
    used = write(tmp_path / "ca", cacerts(OLD_CA, [], [OLD]))
    before = {path.name for path in used.iterdir()}
    with pytest.raises(RotationRefused, match="begun with --next-directory: give it again"):
        await hands(used).prepare(replace(ROTATION, given=True))
    assert {path.name for path in used.iterdir()} == before
    following = write(tmp_path / "next", cacerts(NEW_CA, [MIDDLE], [NEW]))
    assert await hands(used, following).prepare(replace(ROTATION, given=True)) == NEW.certificate


async def test_no_other_roots_key_is_overwritten(tmp_path: Path) -> None:
    """It may be the only copy of the key of the root that is in use."""
    used = write(tmp_path / "ca", cacerts(OLD_CA, [], [OLD]))
    offline = write(tmp_path / "offline", {"root-key.pem": b"the old one"})
    await hands(used).prepare(ROTATION)
    assert (offline / "root-r1" / "root-key.pem").stat().st_mode & 0o777 == 0o600
    assert (offline / "root-key.pem").read_bytes() == b"the old one"


async def test_an_old_ca_that_was_put_back_is_not_cut_off(tmp_path: Path) -> None:
    """Without its root it could not be loaded, and the new CA's key would be gone with the leftovers."""
    used = write(tmp_path / "ca", cacerts(OLD_CA, [], [OLD]))
    rotator = hands(used)
    rotation = await through(rotator)
    both = (used / "root-cert.pem").read_bytes()
    write(used, {**cacerts(OLD_CA, [], [OLD]), "root-cert.pem": both})
    before = {path.name: path.read_bytes() for path in used.iterdir()}
    with pytest.raises(RotationRefused, match="somebody has put the old CA back"):
        await rotator.retire(rotation)
    assert {path.name: path.read_bytes() for path in used.iterdir()} == before
