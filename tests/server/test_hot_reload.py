"""Keys and certificates swapped under constant calls, over kept and over fresh connections: no call fails."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from signer.config.load import Loaded
from tests.cluster.poll import until
from tests.server import cas
from tests.server.calls import Client, Reply
from tests.server.conftest import NewServer
from tests.server.loop import LoopThread
from tests.server.pairs import write_pair
from tests.server.raw_http2 import connect
from tests.server.running import Running, configuration, loaded, running
from tests.server.traffic import traffic
from tests.support.pki import Ca, make_ca

LIMIT = 15.0


def authorities(*names: str) -> tuple[Ca, list[dict[str, bytes]]]:
    """One root and the files of several intermediates below it."""
    root = make_ca("root", window=cas.around_now())
    return root, [cas.cacerts(make_ca(name, root, window=cas.around_now()), [root]) for name in names]


def served_serial(server: Running, roots: bytes) -> int:
    """Of the certificate that a handshake shows now."""
    with connect(server.address, ssl.create_default_context(cadata=roots.decode())) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der).serial_number


def test_intermediate_swapped_file_by_file(new_server: NewServer, tmp_path: Path) -> None:
    """Between two files the pair does not match: the old one signs until the new one is whole."""
    _, versions = authorities("one", "two", "three")
    directory = cas.put(tmp_path / "ca", versions[0])
    server = new_server(directory)
    with traffic(server.client, server.good) as flow:
        for count, files in enumerate(versions, start=1):
            cas.put(directory, files)
            until(lambda n=count: len(flow.issuers()) >= n, deadline=LIMIT, what="leaves of the new intermediate")  # type: ignore[misc]
    assert len(flow.issuers()) == 3
    assert len(flow.roots()) == 1


def test_ca_swapped_by_a_symbolic_link(new_server: NewServer, tmp_path: Path) -> None:
    """As kubelet swaps a mounted Secret."""
    _, versions = authorities("one", "two", "three")
    directory = cas.mount(tmp_path / "ca", versions[0])
    server = new_server(directory)
    with traffic(server.client, server.good) as flow:
        for count, files in enumerate(versions, start=1):
            cas.mount(directory, files)
            until(lambda n=count: len(flow.issuers()) >= n, deadline=LIMIT, what="leaves of the new intermediate")  # type: ignore[misc]


def test_root_swapped(new_server: NewServer, tmp_path: Path) -> None:
    """Clients that trust both roots notice nothing; the serving certificate follows, since its root is gone."""
    old, new = make_ca("old root", window=cas.around_now()), make_ca("new root", window=cas.around_now())
    directory = cas.mount(tmp_path / "ca", cas.cacerts(make_ca("one", old, window=cas.around_now()), [old]))
    server = new_server(directory)
    both = old.pem + new.pem

    def dial() -> Client:
        return server.client(both)

    first = served_serial(server, both)
    with traffic(dial, server.good) as flow:
        cas.mount(directory, cas.cacerts(make_ca("two", new, window=cas.around_now()), [new]))
        until(lambda: len(flow.roots()) == 2, deadline=LIMIT, what="the new root in answers")
        until(lambda: served_serial(server, both) != first, deadline=LIMIT, what="the new serving certificate")
    served_serial(server, new.pem)


def test_serving_certificate_renewed(new_server: NewServer, tmp_path: Path) -> None:
    """At a lifetime of 3 s it is renewed every 1.5 s, and no handshake meets one that has ended."""
    server = new_server(serving={"ttl": "3s"})
    roots, seen = server.roots(), set[int]()

    def renewed() -> bool:
        seen.add(served_serial(server, roots))
        return len(seen) >= 4

    with traffic(server.client, server.good):
        until(renewed, deadline=LIMIT, what="three renewals")
    assert server.server.serving.pair
    assert server.server.serving.pair.window[1] > datetime.now(UTC)


def test_configuration_re_read(loops: LoopThread, tmp_path: Path) -> None:
    """Lifetimes change from one call to the next; a change that needs a restart is told and changes nothing."""
    directory, changes = cas.init(tmp_path / "ca"), list[Loaded]()
    shorter = {"certificates": {"default_ttl": "5m", "max_ttl": "10m"}}
    config, place = configuration(directory), tmp_path / "server"
    with running(loops, place, config, read_again=lambda: changes.pop() if changes else None) as server:
        with traffic(server.client, server.good) as flow:
            changes.append(loaded(configuration(directory, **shorter)))
            until(lambda: min(map(lifetime, list(flow.replies)), default=1e9) < 700, deadline=LIMIT, what="the maximum")
        mark = server.log.size()
        changes.append(loaded(configuration(directory, **shorter, trust_domain="other.example")))
        line = server.log.await_line(lambda line: "wait for a restart" in str(line["message"]), mark, LIMIT)
        assert "trust_domain" in line["message"]
        assert server.send(server.good()).code == "OK"


def lifetime(reply: Reply) -> float:
    """Seconds of a leaf."""
    leaf = x509.load_pem_x509_certificate(reply.chain[0].encode())
    return (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()


def test_serving_files_swapped(new_server: NewServer, tmp_path: Path) -> None:
    """Key and certificate come one after the other: the old pair is shown until the new one is whole."""
    files = tmp_path / "serving"
    server = new_server(serving=write_pair(files, "one"))
    roots = (files / "root.pem").read_bytes()
    first = served_serial(server, roots)
    with traffic(lambda: server.client(roots), server.good):
        write_pair(files, "two")
        until(lambda: served_serial(server, roots) != first, deadline=LIMIT, what="the new pair")
        cas.put(files, {"tls.key": b"rubbish"})
        server.log.await_message("no new serving certificate, the old one serves until")
    assert "PRIVATE KEY" not in server.log.text()


def test_a_failing_backend_does_not_take_the_serving_certificate(new_server: NewServer, tmp_path: Path) -> None:
    """Due for renewal, and the CA is too near its end to sign: the old certificate serves on, and it is said."""
    root = make_ca("short", window=cas.around_now(12 * cas.SECOND))
    server = new_server(cas.put(tmp_path / "ca", cas.cacerts(root, [root])), serving={"ttl": "11s"})
    serial = served_serial(server, root.pem)
    kept = "no new serving certificate, the old one serves until"
    until(lambda: server.log.text().count(kept) >= 2, deadline=LIMIT, what="two failures")
    assert served_serial(server, root.pem) == serial
