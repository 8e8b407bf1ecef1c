"""Extra roots, distrust and pins, as callers of a whole server see them: in the last element of their answers."""

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from signer.core.chain import TrustBundle, fingerprint
from signer.trust.extras import ExtraRootsUnusable
from tests.cluster.poll import until
from tests.corpus.build import good_csr
from tests.server import cas
from tests.server.calls import Call, bearer
from tests.server.conftest import NewServer
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.support.pki import Ca, make_ca

LIMIT = 15.0


def root(title: str) -> Ca:
    """Valid now."""
    return make_ca(title, window=cas.around_now())


def answer(server: Running, namespace: str = "payments") -> tuple[str, ...]:
    """``cert_chain`` for the account ``api`` of a namespace."""
    assert server.issuer
    token = server.issuer.mint(namespace, "api", f"api-{os.urandom(4).hex()}")
    reply = server.send(Call(good_csr(uri=f"spiffe://cluster.local/ns/{namespace}/sa/api"), bearer(token)))
    assert reply.code == "OK", reply
    return reply.chain


def roots_of(chain: tuple[str, ...]) -> set[x509.Certificate]:
    """Those of the last element, which must be a bundle as all replicas write it."""
    roots = x509.load_pem_x509_certificates(chain[-1].encode())
    assert TrustBundle.of(roots).pem == chain[-1]
    return set(roots)


def test_whose_answers_carry_it(new_server: NewServer, tmp_path: Path) -> None:
    """Those of the namespace, in the last element only; those of others do not."""
    extra, path = root("federated"), tmp_path / "extra.pem"
    path.write_bytes(extra.pem.replace(b"\n", b"\r\n"))
    server = new_server(trust={"roots": [{"file": str(path), "namespaces": ["payments"]}]})
    base = set(server.server.bundle.current().roots)
    chain = answer(server)
    assert roots_of(chain) == base | {extra.certificate}
    assert [element.count("BEGIN") for element in chain] == [1, 1, 2]
    assert roots_of(answer(server, "billing")) == base


def test_for_everybody_of_a_cluster(new_server: NewServer, tmp_path: Path) -> None:
    """Conditions may name the cluster, or nothing."""
    here, there, all_ = root("here"), root("there"), root("all")
    for name, ca in {"here": here, "there": there, "all": all_}.items():
        (tmp_path / name).write_bytes(ca.pem)
    rules = [
        {"file": str(tmp_path / "here"), "clusters": ["Kube*"]},
        {"file": str(tmp_path / "there"), "clusters": ["other"]},
        {"file": str(tmp_path / "all")},
    ]
    server = new_server(trust={"roots": rules})
    common = set(server.server.bundle.current().roots)
    assert all_.certificate in common
    assert roots_of(answer(server)) == common | {here.certificate}


def test_a_changed_file(new_server: NewServer, tmp_path: Path) -> None:
    """Without a restart: for some, for all, and a bad version changes nothing."""
    one, two = root("one"), root("two")
    some, everybody = tmp_path / "some", tmp_path / "everybody"
    cas.put(tmp_path, {"some": one.pem, "everybody": one.pem})
    server = new_server(trust={"roots": [{"file": str(some), "namespaces": ["pay*"]}, {"file": str(everybody)}]})
    cas.put(tmp_path, {"some": two.pem})
    both = {one.certificate, two.certificate}
    until(lambda: both <= roots_of(answer(server)), deadline=LIMIT, what="the new root in some answers")
    assert two.certificate not in roots_of(answer(server, "billing"))
    cas.put(tmp_path, {"everybody": two.pem})
    until(
        lambda: roots_of(answer(server, "billing")).isdisjoint({one.certificate}),
        deadline=LIMIT,
        what="the old root to be gone",
    )
    assert two.certificate in roots_of(answer(server, "billing"))
    cas.put(tmp_path, {"everybody": b"rubbish"})
    line = server.log.await_line(lambda line: str(everybody) in str(line["message"]), limit=LIMIT)
    assert line["level"] == "error"
    assert two.certificate in roots_of(answer(server, "billing"))


def ends(loops: LoopThread, place: Path, config: dict[str, Any]) -> None:
    """Start a server that ends by itself; its error is raised."""
    with running(loops, place, config, ready=False) as server:
        until(server.task.done, deadline=LIMIT, what="the end")
        assert not server.server.health.ready


@pytest.mark.parametrize("data", [None, b"", b"rubbish"], ids=["missing", "empty", "rubbish"])
def test_a_bad_file_at_start(loops: LoopThread, tmp_path: Path, data: bytes | None) -> None:
    """It does not start, and says which file."""
    path = tmp_path / "extra.pem"
    if data is not None:
        path.write_bytes(data)
    config = configuration(cas.init(tmp_path / "ca"), trust={"roots": [{"file": str(path)}]})
    with pytest.raises(ExtraRootsUnusable, match=str(path)):
        ends(loops, tmp_path / "server", config)


def two_roots(tmp_path: Path) -> tuple[Path, Ca, Ca]:
    """A CA directory that shows a root of its own and one more."""
    own, more = root("own"), root("more")
    files = cas.cacerts(make_ca("signing", own, window=cas.around_now()), [own, more])
    return cas.put(tmp_path / "two", files), own, more


def test_distrust(new_server: NewServer, tmp_path: Path) -> None:
    """Whoever vouches, a backend or files; written as openssl writes it."""
    directory, own, more = two_roots(tmp_path)
    (tmp_path / "extra").write_bytes(more.pem)
    rules = [{"file": str(tmp_path / "extra")}, {"file": str(tmp_path / "extra"), "namespaces": ["payments"]}]
    before = new_server(directory, trust={"roots": rules})
    assert roots_of(answer(before)) == {own.certificate, more.certificate}
    digits = fingerprint(more.certificate).upper()
    mark = ":".join(digits[i : i + 2] for i in range(0, 64, 2))
    after = new_server(directory, trust={"roots": rules, "distrust": [mark]})
    assert roots_of(answer(after)) == {own.certificate}
    after.log.await_message("trust.distrust names it")


def test_pins(new_server: NewServer, tmp_path: Path) -> None:
    """What the backend shows beyond them is left out, and said once with what to do."""
    directory, own, more = two_roots(tmp_path)
    server = new_server(directory, backends={"local": {"pins": [fingerprint(own.certificate)]}})
    assert roots_of(answer(server)) == {own.certificate}
    server.log.await_message(f"to trust it add {fingerprint(more.certificate)}")
    late = root("late")
    cas.put(directory, {"root-cert.pem": own.pem + late.pem})
    server.log.await_message(f"to trust it add {fingerprint(late.certificate)}")
    assert roots_of(answer(server)) == {own.certificate}
    assert server.log.text().count(fingerprint(more.certificate)) == 1


def test_a_root_taken_out_of_the_ca_files_goes_at_once(new_server: NewServer, tmp_path: Path) -> None:
    """An operator's word; no retention holds it."""
    directory, own, more = two_roots(tmp_path)
    server = new_server(directory, trust={"retention": "1h"})
    assert roots_of(answer(server)) == {own.certificate, more.certificate}
    cas.put(directory, {"root-cert.pem": own.pem})
    until(lambda: roots_of(answer(server)) == {own.certificate}, deadline=LIMIT, what="the root to be gone")
