"""Making a CA on disk: modes, nothing overwritten, the root's key apart."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from backends.local.ca import load_ca
from backends.local.files import read_files
from backends.local.init import AlreadyThere, CaPlan, init_ca, plan_files
from signer.core import keys
from tests.support.ca_files import CACERTS
from tests.support.clock import DAY, NOW


@pytest.fixture
def plan(tmp_path: Path) -> CaPlan:
    """A CA in one directory, its root's key in another."""
    return CaPlan(tmp_path / "ca", tmp_path / "offline", "cluster.local")


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_it_can_be_used_at_once(plan: CaPlan) -> None:
    """By the backend, as it is."""
    init_ca(plan, NOW)
    ca = load_ca(read_files(plan.directory, None), NOW)
    assert [c.subject.rfc4514_string() for c in ca.chain] == ["CN=Intermediate CA,O=cluster.local"]
    assert [c.subject.rfc4514_string() for c in ca.bundle.roots] == ["CN=Root CA,O=cluster.local"]
    assert ca.window == (NOW - timedelta(minutes=5), NOW + plan.intermediate_ttl)


def test_files(plan: CaPlan) -> None:
    """The cacerts names; the root's key only in its own directory, and first in the list."""
    written = init_ca(plan, NOW)
    assert {path.name for path in plan.directory.iterdir()} == set(CACERTS)
    assert {path.name for path in plan.root_directory.iterdir()} == {"root-key.pem", "root-cert.pem"}
    assert written[0] == plan.root_directory / "root-key.pem"
    assert all(path.exists() for path in written)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=oct)
def test_modes(plan: CaPlan, mask: int) -> None:
    """Keys are their owner's only, whatever the umask."""
    before = os.umask(mask)
    try:
        written = init_ca(plan, NOW)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in written}
    assert (modes["ca-key.pem"], modes["root-key.pem"]) == (0o600, 0o600)
    assert modes["root-cert.pem"] == 0o644 & ~mask
    assert plan.root_directory.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["ca/ca-key.pem", "ca/root-cert.pem", "offline/root-key.pem"])
def test_never_overwrites(plan: CaPlan, name: str, tmp_path: Path) -> None:
    """One file that is there, and nothing is written at all."""
    there = tmp_path / name
    there.parent.mkdir()
    there.write_text("precious")
    with pytest.raises(AlreadyThere, match=f"{there} exists"):
        init_ca(plan, NOW)
    assert list(tmp_path.rglob("*.pem")) == [there]
    assert there.read_text() == "precious"


def test_a_dangling_link_is_there_as_well(plan: CaPlan, tmp_path: Path) -> None:
    """A key must not be written through somebody's link."""
    plan.directory.mkdir()
    (plan.directory / "ca-key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises((AlreadyThere, FileExistsError)):
        init_ca(plan, NOW)
    assert not (tmp_path / "elsewhere").exists()


def test_encrypted(plan: CaPlan) -> None:
    """Both keys, by one password."""
    plan = replace(plan, password=b"open sesame")
    init_ca(plan, NOW)
    for path in (plan.directory / "ca-key.pem", plan.root_directory / "root-key.pem"):
        with pytest.raises(TypeError):
            load_pem_private_key(path.read_bytes(), None)
        assert load_pem_private_key(path.read_bytes(), b"open sesame")


@pytest.mark.parametrize("key_type", keys.KEY_TYPES[:3])
def test_key_types(plan: CaPlan, key_type: str) -> None:
    """Of both keys."""
    init_ca(replace(plan, key_type=key_type), NOW)
    for path in (plan.directory / "ca-cert.pem", plan.directory / "root-cert.pem"):
        assert keys.describe(_certificate(path).public_key()).replace("-", "").lower() == key_type


def test_constraints(plan: CaPlan) -> None:
    """The intermediate signs leaves and no further CA; key identifiers link the two."""
    init_ca(plan, NOW)
    root, below = (_certificate(plan.directory / name) for name in ("root-cert.pem", "ca-cert.pem"))
    lengths = [c.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length for c in (root, below)]
    assert lengths == [None, 0]
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    above = below.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert above.key_identifier == own.digest
    below.verify_directly_issued_by(root)


def test_intermediate_ends_with_its_root(plan: CaPlan) -> None:
    """However long it was asked for."""
    init_ca(replace(plan, root_ttl=10 * DAY, intermediate_ttl=20 * DAY), NOW)
    ends = {_certificate(plan.directory / name).not_valid_after_utc for name in ("root-cert.pem", "ca-cert.pem")}
    assert ends == {NOW + 10 * DAY}


def test_planning_writes_nothing(plan: CaPlan) -> None:
    """And each plan has keys of its own."""
    assert plan_files(plan, NOW)[plan.directory / "ca-key.pem"] != plan_files(plan, NOW)[plan.directory / "ca-key.pem"]
    assert not plan.directory.exists()
