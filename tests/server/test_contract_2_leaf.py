"""Contract 2: what is in a leaf."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.corpus.build import EMPTY_ORGANIZATION, csr_der, good_csr, parsed_csr, pem, wants
from tests.mesh.x509_strict import verify_strict
from tests.server import cas
from tests.server.conftest import NewServer
from tests.server.running import URI, Running
from tests.server.verdicts import refused
from tests.support.pki import CA_EXTENSIONS, make_ca

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
DAY_S = 24 * 3600


def chain_for(server: Running, ttl: int = 3600, csr: str | None = None) -> tuple[str, ...]:
    reply = server.send(replace(server.good(), ttl=ttl, csr=csr or good_csr()))
    assert reply.code == "OK", reply
    return reply.chain


def leaf_for(server: Running, ttl: int = 3600, csr: str | None = None) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain_for(server, ttl, csr)[0].encode())


def names_of(leaf: x509.Certificate) -> list[x509.GeneralName]:
    return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def test_2_1_one_uri_and_it_is_the_identity(developing: Running) -> None:
    """2.1: the first URI SAN must be the requested identity, and peers that verify need exactly one."""
    assert names_of(leaf_for(developing)) == [x509.UniformResourceIdentifier(URI)]


def test_2_2_the_identity_is_that_of_the_token(developing: Running) -> None:
    """2.2: the agent does not check the SAN: another namespace or account would break authorization quietly."""
    issuer = developing.issuer
    assert issuer is not None
    token = issuer.mint("shop", "front.end", "front-1")
    for identity, wanted in ((URI, False), ("spiffe://cluster.local/ns/shop/sa/front.end", True)):
        csr = pem(csr_der(wants(identity)))
        reply = developing.send(replace(developing.good(), authorization=(f"Bearer {token}",), csr=csr))
        assert (reply.code == "OK") is wanted, reply
        if wanted:
            leaf = x509.load_pem_x509_certificate(reply.chain[0].encode())
            assert names_of(leaf) == [x509.UniformResourceIdentifier(identity)]


@pytest.mark.parametrize("by", ["p256/csr", "rsa2048/csr"])
def test_2_3_both_roles_and_no_ca(developing: Running, by: str) -> None:
    """2.3: EKU serverAuth and clientAuth, KU digitalSignature, not a CA; OpenSSL's strict opinion of it all."""
    chain = chain_for(developing, csr=good_csr(by))
    extensions = x509.load_pem_x509_certificate(chain[0].encode()).extensions
    usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    issuer = x509.load_pem_x509_certificate(chain[1].encode())
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == own
    verify_strict(chain, "sslserver")
    verify_strict(chain, "sslclient")


@pytest.mark.parametrize("subject", [b"\x30\x00", EMPTY_ORGANIZATION], ids=["ztunnel", "agent"])
def test_2_4_empty_subject_and_critical_san(developing: Running, subject: bytes) -> None:
    """2.4: with an empty subject the SAN is critical; nothing of the CSR's subject gets into the names."""
    for critical in (True, False):
        leaf = leaf_for(developing, csr=pem(csr_der(wants(URI, critical=critical), subject=subject)))
        assert not leaf.subject.rdns
        assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


# Seconds asked for -> seconds of backdating: min(60 s, a tenth of the life).
BACKDATES = {20: 2, 60: 6, 600: 60, 3600: 60, DAY_S: 60}


@pytest.mark.parametrize("ttl", BACKDATES)
def test_2_5_backdate_scales(developing: Running, ttl: int) -> None:
    """2.5: notBefore drives ztunnel's rotation, so the backdate is a small part of the life."""
    before = datetime.now(UTC).replace(microsecond=0)
    leaf = leaf_for(developing, ttl)
    after = datetime.now(UTC)
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    assert before + ttl * SECOND <= end <= after + ttl * SECOND
    assert end - start == (ttl + BACKDATES[ttl]) * SECOND


@pytest.mark.parametrize("ttl", [1, 2, 10, 60, 3600])
def test_2_6_half_life_lies_ahead(developing: Running, ttl: int) -> None:
    """2.6: a half-life that has passed makes ztunnel fetch in a loop, however short the lifetime."""
    before = datetime.now(UTC)
    leaf = leaf_for(developing, ttl)
    half = leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 2
    # Certificates know whole seconds.
    assert half >= before.replace(microsecond=0) + 0.4 * ttl * SECOND


def test_2_6_a_ca_that_ends_soon_refuses(new_server: NewServer, tmp_path: Path) -> None:
    """2.6: never with a remaining life that is hardly more than the backdate: refuse instead."""
    root = make_ca("ending", window=cas.around_now(8 * SECOND))
    serving = {"ttl": "2s"}
    server = new_server(cas.put(tmp_path / "ca", cas.cacerts(root, [root])), serving=serving)
    with server.client() as client:
        refused(server, client, server.good(), "RefusedLocally", "too soon to sign a certificate")


@pytest.mark.parametrize("ending", ["root", "middle", "lower"])
def test_2_7_no_leaf_outlives_a_ca(new_server: NewServer, tmp_path: Path, ending: str) -> None:
    """2.7: clients never look at intermediates' expiry: leaf.notAfter <= every CA in the chain."""
    ends = {name: cas.around_now(HOUR if name == ending else 5 * HOUR) for name in ("root", "middle", "lower")}
    root = make_ca("root", window=ends["root"])
    middle = make_ca("middle", root, window=ends["middle"])
    lower = make_ca("lower", middle, window=ends["lower"])
    server = new_server(cas.put(tmp_path / "ca", cas.cacerts(lower, [root], [middle])))
    assert leaf_for(server, DAY_S).not_valid_after_utc == ends[ending][1]


@pytest.mark.parametrize("by", ["rsa2048/csr", "rsa3072/csr", "p256/csr", "p384/csr"])
def test_2_8_key_types_of_clients(developing: Running, by: str) -> None:
    """2.8: RSA from 2048 bits, P-256 and P-384; others are in the table of bad input."""
    key = leaf_for(developing, csr=good_csr(by)).public_key()
    assert key == parsed_csr(by).key
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)


@pytest.mark.parametrize("key_type", ["rsa2048", "p384"])
def test_2_9_key_types_of_the_ca(new_server: NewServer, tmp_path: Path, key_type: str) -> None:
    """2.9: RSA, P-256 and P-384 are safe; a P-521 CA is refused (`test_ca_files`)."""
    chain = chain_for(new_server(cas.init(tmp_path / "ca", key_type)))
    verify_strict(chain, "sslserver")


def test_2_10_no_intermediate_with_odd_critical_extensions(new_server: NewServer, tmp_path: Path) -> None:
    """2.10: a critical extension that webpki does not know would be refused in the middle of a handshake."""
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    root = make_ca("root", window=cas.around_now())
    constrained = make_ca("odd", root, window=cas.around_now(), extensions=(*CA_EXTENSIONS, (odd, True)))
    directory = cas.init(tmp_path / "ca")
    server = new_server(directory)
    issuer = chain_for(server)[1:]
    cas.put(directory, cas.cacerts(constrained, [root]))
    server.log.await_message("certificates of this CA would be refused")
    assert chain_for(server)[1:] == issuer


def test_serials_are_distinct_and_random(developing: Running) -> None:
    """Beside the contract (RFC 5280 section 4.1.2.2): two answers to one CSR are two certificates."""
    serials = {leaf_for(developing).serial_number for _ in range(5)}
    assert len(serials) == 5
    assert min(serials).bit_length() > 64
