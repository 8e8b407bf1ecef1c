"""Development mode works without a cluster, is loud, and cannot happen by accident."""

import http.client
import re
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.command import istio_signer
from tests.e2e.process import SignerProcess

pytestmark = pytest.mark.timeout(120)

IDENTITY = "spiffe://cluster.local/ns/shop/sa/front"
LOOPBACK: tuple[str | Path, ...] = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")


def test_refused_inside_a_cluster(tmp_path: Path) -> None:
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    done = istio_signer("serve", "--development", "--directory", tmp_path / "ca", *LOOPBACK, variables=inside)

    assert done.code == 2
    assert "--development is refused inside a cluster" in done.err
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize("option", ["--grpc", "--http"])
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "localhost.example.com:0"])
def test_refused_where_other_machines_can_call(tmp_path: Path, option: str, address: str) -> None:
    done = istio_signer("serve", "--development", "--directory", tmp_path / "ca", *LOOPBACK, option, address)

    assert done.code == 2
    assert f"listen.{option.removeprefix('--')}: {address}" in done.err
    assert not (tmp_path / "ca").exists()


def test_a_file_cannot_open_it_to_other_machines(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("listen: {grpc: '0.0.0.0:0'}\n")
    done = istio_signer("serve", "--development", "--config", config, "--directory", tmp_path / "ca")

    assert done.code == 2
    assert "--development listens on 127.0.0.1" in done.err


def test_its_options_alone_do_not_start_it(tmp_path: Path) -> None:
    done = istio_signer("serve", "--directory", tmp_path / "ca")

    assert done.code == 2
    assert "--directory belongs to --development" in done.err


def test_half_a_ca_is_told(tmp_path: Path) -> None:
    """Neither used nor made whole over what is there."""
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "ca-key.pem").write_text("precious")
    done = istio_signer("serve", "--development", "--directory", tmp_path / "ca", *LOOPBACK)

    assert done.code == 1
    assert f"{tmp_path / 'ca' / 'ca-key.pem'} exists; choose another directory" in done.err
    assert "Traceback" not in done.err
    assert (tmp_path / "ca" / "ca-key.pem").read_text() == "precious"


def test_no_place_for_a_ca() -> None:
    done = istio_signer("serve", "--development", "--directory", "/proc/nowhere", *LOOPBACK)

    assert (done.code, "Traceback" in done.err) == (1, False)
    assert "/proc/nowhere: no CA can be made there: No such file or directory" in done.err


def test_it_is_loud_and_issues(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    with SignerProcess(tmp_path, ["--development", "--directory", ca, *LOOPBACK], ca / "root-cert.pem") as signer:
        admin = f"http://127.0.0.1:{signer.http_port}"
        server = ("--address", signer.grpc, "--roots", signer.roots, "--development-token", admin)
        done = istio_signer("request", *server, "--identity", IDENTITY, "-o", "json")
        assert signer.terminate() == 0

    assert done.code == 0, done.err
    assert done.json()["identities"] == [IDENTITY]
    assert re.search(r"WARNING DEVELOPMENT MODE: anybody on this machine can get any identity", signer.log())
    assert stat.S_IMODE((ca / "ca-key.pem").stat().st_mode) == 0o600


def test_its_tokens_die_with_it(tmp_path: Path) -> None:
    """The CA is kept in the directory, the token issuer's key nowhere."""
    ca, token = tmp_path / "ca", tmp_path / "token"
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    arguments: list[str | Path] = ["--development", "--directory", ca, *LOOPBACK]
    with SignerProcess(first, arguments, ca / "root-cert.pem") as signer:
        token.write_text(minted(signer))
        roots = signer.roots.read_text()
    with SignerProcess(second, arguments, ca / "root-cert.pem") as signer:
        server = ("--address", signer.grpc, "--roots", signer.roots)
        assert istio_signer("request", *server, "--identity", IDENTITY, "--token-file", token).code == 1
        assert signer.roots.read_text() == roots


def minted(signer: SignerProcess) -> str:
    """A development token, by plain HTTP."""
    with closing(http.client.HTTPConnection("127.0.0.1", signer.http_port, timeout=10)) as connection:
        connection.request("POST", "/development/token?namespace=shop&service_account=front&pod=front-1")
        return connection.getresponse().read().decode()


def test_a_ca_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """A file made for production must not lend its key to anybody on this machine."""
    config = tmp_path / "config.yaml"
    config.write_text(f"backends: {{local: {{type: local, directory: {tmp_path / 'production'}}}}}\n")
    done = istio_signer("serve", "--development", "--config", config, "--directory", tmp_path / "ca", *LOOPBACK)

    assert done.code == 2
    assert "backends.local: --development signs with a CA in" in done.err


@pytest.mark.parametrize("duty", ["distribution", "istiod"])
def test_what_needs_a_cluster_is_refused(tmp_path: Path, duty: str) -> None:
    """Left out without a word, it would be taken for tested."""
    config = tmp_path / "config.yaml"
    config.write_text(f"{duty}: {{enabled: true}}\n")
    done = istio_signer("serve", "--development", "--config", config, "--directory", tmp_path / "ca", *LOOPBACK)

    assert done.code == 2
    assert f"{duty}.enabled: this needs a cluster" in done.err
    assert not (tmp_path / "ca").exists()
