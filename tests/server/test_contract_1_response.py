"""Contract 1: the shape of an answer."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cluster.poll import until
from tests.corpus.build import parsed_csr
from tests.goclient.fake_server import _fields
from tests.server import cas
from tests.server.conftest import NewServer
from tests.server.loop import LoopThread
from tests.server.running import Running, configuration, running
from tests.support.pki import Ca, leaf_extensions, make_ca

BEGIN = "-----BEGIN CERTIFICATE-----\n"
Chain = tuple[str, ...]


def answer(server: Running) -> Chain:
    reply = server.send(server.good())
    assert reply.code == "OK", reply
    return reply.chain


def parsed(element: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(element.encode())


def long_ca() -> tuple[Ca, list[Ca], list[Ca]]:
    """Two intermediates in a row below one of two roots."""
    roots = [make_ca("root A", window=cas.around_now()), make_ca("root B", window=cas.around_now())]
    middle = make_ca("middle", roots[0], window=cas.around_now())
    return make_ca("lower", middle, window=cas.around_now()), [middle], roots


@pytest.fixture(scope="module")
def long(loops: LoopThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("long")
    lower, middle, roots = long_ca()
    files = cas.cacerts(lower, roots, middle)
    with running(loops, place, configuration(cas.put(place / "ca", files))) as at_work:
        yield at_work


def test_1_1_at_least_two_elements(developing: Running, long: Running, new_server: NewServer, tmp_path: Path) -> None:
    """1.1: with fewer than 2 elements the agent fails with "invalid empty CertChain", ztunnel finds no root."""
    root = make_ca("alone", window=cas.around_now())
    alone = new_server(cas.put(tmp_path / "ca", {**cas.cacerts(root, [root])}))
    assert [len(answer(server)) for server in (alone, developing, long)] == [2, 3, 4]


def test_1_2_one_certificate_per_element(long: Running) -> None:
    """1.2: ztunnel reads only the first PEM block of element 0 and of each middle one: never leaf+intermediate."""
    leaf, *middle, _ = answer(long)
    assert [element.count("-----BEGIN") for element in (leaf, *middle)] == [1, 1, 1]
    names = [parsed(element)[0].subject.rfc4514_string() for element in (leaf, *middle)]
    assert names == ["", "CN=lower", "CN=middle"], "from the leaf upwards"


def test_1_3_all_roots_in_the_last_element(long: Running) -> None:
    """1.3: the agent takes only the last element as roots, so all of them are there and in no other."""
    *rest, last = answer(long)
    assert {c.subject.rfc4514_string() for c in parsed(last)} == {"CN=root A", "CN=root B"}
    assert not [c for element in rest for c in parsed(element) if c.subject == c.issuer]


@pytest.mark.parametrize("chain_file", ["as istio writes it", "none"])
def test_1_4_a_self_signed_ca_gives_leaf_and_root(new_server: NewServer, tmp_path: Path, chain_file: str) -> None:
    """1.4: without intermediates exactly [leaf, root]; the root is not repeated as an intermediate."""
    root = make_ca("alone", window=cas.around_now())
    files = cas.cacerts(root, [root])
    if chain_file == "none":
        del files["cert-chain.pem"]
    leaf, roots = answer(new_server(cas.put(tmp_path / "ca", files)))
    assert parsed(leaf)[0].issuer == root.certificate.subject
    assert parsed(roots) == [root.certificate]


def test_1_4_no_root_is_repeated_in_the_middle(developing: Running) -> None:
    """1.4: cert-chain.pem holds the root too, as Istio's own tools write it; the answer does not repeat it."""
    _, intermediate, root = answer(developing)
    assert parsed(intermediate)[0].subject != parsed(root)[0].subject


def test_1_5_each_element_ends_with_a_newline(long: Running) -> None:
    """1.5: the agent adds a newline only between elements, others just join."""
    assert all(element.endswith("-----END CERTIFICATE-----\n") for element in answer(long))
    assert not [element for element in answer(long) if element.endswith("\n\n")]


def test_1_6_the_first_block_is_the_leaf(long: Running) -> None:
    """1.6: expiry is read from the first PEM block of the joined chain."""
    chain = answer(long)
    assert "".join(chain).startswith(BEGIN)
    first = parsed("".join(chain))[0]
    assert first.public_key() == parsed_csr().key


def test_1_7_the_leaf_is_for_the_callers_key(long: Running) -> None:
    """1.7: nobody checks that key and certificate match before Envoy, which then keeps the old one, silently."""
    assert parsed(answer(long)[0])[0].public_key() == parsed_csr().key


def test_1_8_byte_stable_across_replicas(new_server: NewServer, tmp_path: Path) -> None:
    """1.8: the agent pushes to Envoy when a byte of the roots differs from the last answer's."""
    lower, middle, roots = long_ca()
    one = new_server(cas.put(tmp_path / "one", cas.cacerts(lower, roots, middle)))
    other = new_server(cas.put(tmp_path / "other", cas.cacerts(lower, roots[::-1], middle)))
    answers = [answer(server)[1:] for server in (one, other, one, other)]
    assert len(set(answers)) == 1


def untidy(roots: list[Ca]) -> bytes:
    """Roots as tools write them: texts around, CRLF, long lines, one of them twice."""
    first, second = (root.pem.decode() for root in roots)
    body = second.replace("-----BEGIN CERTIFICATE-----", "").replace("-----END CERTIFICATE-----", "")
    long_lines = "\n".join(textwrap.wrap("".join(body.split()), 76))
    return (
        f"Bag Attributes\r\n    friendlyName: Root A\r\n{first}".replace("\r\n", "\n").replace("\n", "\r\n")
        + f"# Root B\n-----BEGIN CERTIFICATE-----\n{long_lines}\n-----END CERTIFICATE-----\n\n\n{first}"
    ).encode()


def test_1_9_canonical_pem(new_server: NewServer, tmp_path: Path) -> None:
    """1.9: merging is by text, so CRLF, comments or another line length would make duplicates."""
    lower, middle, roots = long_ca()
    files = cas.cacerts(lower, roots, middle) | {"root-cert.pem": untidy(roots)}
    chain = answer(new_server(cas.put(tmp_path / "ca", files)))
    assert len(parsed(chain[-1])) == 2
    for element in chain:
        canonical = "".join(c.public_bytes(Encoding.PEM).decode() for c in parsed(element))
        assert element == canonical
        assert max(map(len, element.splitlines())) <= 64


def test_1_10_a_bad_root_is_never_shipped(new_server: NewServer, tmp_path: Path) -> None:
    """1.10: ztunnel fails on any block of the last element that is no certificate; bad anchors harm later."""
    lower, middle, roots = long_ca()
    no_ca = make_ca("no CA", window=cas.around_now(), extensions=leaf_extensions("spiffe://x/ns/a/sa/b"))
    ended = make_ca("ended", window=cas.around_now(-cas.DAY / 2))
    p521 = make_ca("p521", kind="p521", window=cas.around_now())
    directory = cas.put(tmp_path / "ca", cas.cacerts(lower, [*roots, no_ca, ended, p521], middle))
    server = new_server(directory)
    assert {c.subject.rfc4514_string() for c in parsed(answer(server)[-1])} == {"CN=root A", "CN=root B"}
    for name in ("no CA", "ended", "p521"):
        server.log.await_message(f"left out 'CN={name}'")
    before = answer(server)[-1]
    broken = b"".join(r.pem for r in roots) + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    cas.put(directory, {"root-cert.pem": broken})
    until(lambda: "broken one" in server.log.text(), deadline=10, what="the broken root to be refused")
    assert answer(server)[-1] == before


def test_1_11_nothing_but_the_chain(developing: Running) -> None:
    """1.11: the message is minimal: field 1, cert_chain, and no other."""
    with developing.client() as client:
        raw = client.raw(developing.good())
    assert [number for number, _ in _fields(raw)] == [1, 1, 1]
