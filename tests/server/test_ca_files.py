"""CA files that turn bad, or are not there yet: what is in use stays, what heals is taken up without a restart."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from backends.local import backend as local_backend
from backends.local import files as local_files
from backends.local.files import Files, read_files
from tests.cluster.poll import until
from tests.server import cas
from tests.server.conftest import NewServer
from tests.server.pairs import write_pair
from tests.server.running import Running
from tests.server.verdicts import refused, still_serves
from tests.support.pki import CA_EXTENSIONS, key_pem, leaf_extensions, make_ca

LIMIT = 10.0


def _other() -> dict[str, bytes]:
    root = make_ca("other root", window=cas.around_now())
    return cas.cacerts(make_ca("other intermediate", root, window=cas.around_now()), [root])


def _expired() -> dict[str, bytes]:
    root = make_ca("expired root", window=cas.around_now())
    return cas.cacerts(make_ca("expired", root, window=cas.around_now(-timedelta(hours=1))), [root])


def _not_a_ca() -> dict[str, bytes]:
    root = make_ca("a root", window=cas.around_now())
    leaf = make_ca("a leaf", root, window=cas.around_now(), extensions=leaf_extensions("spiffe://x/ns/a/sa/b"))
    return cas.cacerts(leaf, [root])


def _p521() -> dict[str, bytes]:
    root = make_ca("p521 root", kind="p521", window=cas.around_now(), extensions=CA_EXTENSIONS)
    return cas.cacerts(root, [root])


def _foreign_key() -> bytes:
    return key_pem(ec.generate_private_key(ec.SECP256R1()))


BAD: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "key is rubbish": (lambda: {"ca-key.pem": b"rubbish"}, "ca-key.pem: holds no usable private key"),
    "key is empty": (lambda: {"ca-key.pem": b""}, "ca-key.pem: holds no usable private key"),
    "key of another pair": (lambda: {"ca-key.pem": _foreign_key()}, "is not the key of ca-cert.pem"),
    "certificate is rubbish": (lambda: {"ca-cert.pem": b"\xff\xfe"}, "ca-cert.pem: holds no PEM certificate"),
    "roots are rubbish": (lambda: {"root-cert.pem": b"rubbish"}, "root-cert.pem: holds no PEM certificate"),
    "root of somebody else": (lambda: {"root-cert.pem": _other()["root-cert.pem"]}, "leads on to root-cert.pem"),
    "expired": (_expired, "ca-cert.pem: expired at"),
    "not a CA": (_not_a_ca, "ca-cert.pem: not a CA certificate"),
    "P-521": (_p521, "the key must be RSA (2048 bits or more), P-256 or P-384"),
    "2 MB": (lambda: {"ca-key.pem": b"x" * 2_000_000}, "ca-key.pem: larger than"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_old_ca_stays_in_use(new_server: NewServer, tmp_path: Path, name: str) -> None:
    directory = cas.init(tmp_path / "ca")
    server = new_server(directory)
    make, reason = BAD[name]
    with server.client() as client:
        before = {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".pem"}
        issuer = client.send(server.good()).chain[1:]
        cas.put(directory, make())
        line = server.log.await_line(lambda event: reason in str(event["message"]))
        assert "the CA in use stays" in line["message"]
        assert line["level"] == "error"
        assert "PRIVATE KEY" not in server.log.text()
        still_serves(server, client)
        assert client.send(server.good()).chain[1:] == issuer
        mark = server.log.size()
        cas.put(directory, before)
        server.log.await_message("in use, key", mark)
        still_serves(server, client)


def test_no_key_at_start_with_serving_files(new_server: NewServer, tmp_path: Path) -> None:
    """It listens, says that it cannot sign yet, and signs once the key is there."""
    server = new_server(tmp_path / "ca", ready=False, serving=write_pair(tmp_path / "serving"))
    until(lambda: server.server.listener.port, deadline=LIMIT, what="the listener")
    roots = (tmp_path / "serving" / "root.pem").read_bytes()
    with server.client(roots) as client:
        refused(server, client, server.good(), "BackendUnavailable", "neither ca-key.pem nor tls.key is there")
        assert server.http("/readyz") == (503, "pending: trust-bundle\n")
        assert "[!] backend local: " in server.http("/readyz?verbose")[1]
        cas.init(tmp_path / "ca")
        server.wait_ready()
        still_serves(server, client)
    assert server.http("/readyz") == (200, "ok\n")


def test_no_key_at_start_and_no_serving_certificate(new_server: NewServer, tmp_path: Path) -> None:
    """Nothing can listen without a certificate, but the admin port tells what is missing, and it heals."""
    server = new_server(tmp_path / "ca", ready=False)
    until(lambda: server.server.admin.port, deadline=LIMIT, what="the admin port")
    assert server.http("/livez") == (200, "ok\n")
    assert server.http("/readyz") == (503, "pending: trust-bundle, serving-certificate, listener\n")
    assert "neither ca-key.pem nor tls.key is there" in server.http("/readyz?verbose")[1]
    assert server.server.listener.port == 0
    cas.init(tmp_path / "ca")
    server.wait_ready()
    with server.client() as client:
        still_serves(server, client)


def test_a_mount_that_is_swapped_in_the_middle_of_a_read(
    new_server: NewServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kubelet swaps all files as one, so half of the old and half of the new is never looked at, nor complained of."""
    root = make_ca("root", window=cas.around_now())
    versions = [cas.cacerts(make_ca(name, root, window=cas.around_now()), [root]) for name in ("one", "two")]
    directory = cas.mount(tmp_path / "ca", versions[0])
    server = new_server(directory)
    really_read, reads = local_files._read, 0

    def read(path: Path) -> bytes:
        nonlocal reads
        reads += 1
        if reads == 2:
            cas.mount(directory, versions[1])
        return really_read(path)

    monkeypatch.setattr(local_files, "_read", read)
    server.log.await_message("CA CN=two in use")
    assert _refusals(server) == 0


def test_the_same_fault_is_told_once(new_server: NewServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at ten times a second, a broken file must not fill the log."""
    looks = 0

    def look(directory: Path, password_file: Path | None) -> Files:
        nonlocal looks
        looks += 1
        return read_files(directory, password_file)

    monkeypatch.setattr(local_backend, "read_files", look)
    directory = cas.init(tmp_path / "ca")
    server = new_server(directory)
    for rubbish in (b"rubbish", b"other rubbish"):
        cas.put(directory, {"ca-key.pem": rubbish})
        enough = looks + 5
        until(lambda: looks >= enough, deadline=LIMIT, what="five more looks")  # noqa: B023  called at once
    assert [_refusals(server), looks >= 10] == [2, True]


def _refusals(server: Running) -> int:
    server.log.size()
    return sum("new CA files refused" in str(line["message"]) for line in server.log.since(0))
