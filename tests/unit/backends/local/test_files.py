"""A CA's files, read: names, passwords, sizes, and the digest that tells two sets apart."""

from pathlib import Path

import pytest

from backends.held.ca import HeldCa, UnusableCa
from backends.local.ca import load_ca
from backends.local.files import MAX_FILE_BYTES, read_files
from tests.corpus.answers import intermediate, root
from tests.support.ca_files import bundle, cacerts, encrypted, write
from tests.support.clock import NOW
from tests.support.pki import key_pem

_PLUGGED_IN = cacerts(intermediate(), [], [root()])


def _load(directory: Path, files: dict[str, bytes], password: Path | None = None) -> HeldCa:
    return load_ca(read_files(write(directory, files), password), NOW)


def test_password(tmp_path: Path) -> None:
    """White space around it in the file does not count."""
    password = tmp_path / "password"
    files = {**_PLUGGED_IN, "ca-key.pem": encrypted(intermediate().key, b"open sesame")}
    password.write_bytes(b"open sesame\n")
    assert _load(tmp_path / "ca", files, password).certificate == intermediate().certificate


@pytest.mark.parametrize(
    ("content", "key_file", "why"),
    [
        (b"swordfish", encrypted(intermediate().key, b"right"), "or the password is wrong"),
        (b"needless", key_pem(intermediate().key), "not encrypted but a password is given"),
        (None, key_pem(intermediate().key), "password: cannot be read: No such file"),
    ],
)
def test_wrong_password(content: bytes | None, key_file: bytes, why: str, tmp_path: Path) -> None:
    """Said, without the password."""
    password = tmp_path / "password"
    if content is not None:
        password.write_bytes(content)
    with pytest.raises(UnusableCa, match=why) as refusal:
        _load(tmp_path / "ca", {**_PLUGGED_IN, "ca-key.pem": key_file}, password)
    assert content is None or content.decode() not in str(refusal.value)


def test_too_large(tmp_path: Path) -> None:
    """Nobody's CA is a megabyte."""
    with pytest.raises(UnusableCa, match="larger than 1048576 bytes"):
        _load(tmp_path, {**_PLUGGED_IN, "root-cert.pem": bundle([root()]).ljust(MAX_FILE_BYTES + 1)})


def test_no_directory(tmp_path: Path) -> None:
    """Says how to get one."""
    with pytest.raises(UnusableCa, match="istio-signer init --directory"):
        read_files(tmp_path / "none", None)


def test_digest(tmp_path: Path) -> None:
    """By content: equal files, equal digest; names, bytes and password count."""
    one = read_files(write(tmp_path / "1", _PLUGGED_IN), None)
    same = read_files(write(tmp_path / "2", _PLUGGED_IN), None)
    other = read_files(write(tmp_path / "3", {**_PLUGGED_IN, "root-cert.pem": root().pem + b"\n"}), None)
    password = tmp_path / "password"
    password.write_bytes(b"x")
    assert one.digest == same.digest
    assert len({one.digest, other.digest, read_files(tmp_path / "1", password).digest}) == 3
