"""What the local CA issues passes the validator, which shares no code with it."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from backends.held.ca import HeldCa
from backends.held.leaf import Template, authority_key_id, sign_leaf
from backends.local.ca import load_ca
from backends.local.files import read_files
from signer.core.chain import TrustBundle
from signer.core.csr import parse_csr
from signer.core.csr_rules import check_csr, own_server_csr
from signer.core.types import IssuedChain, ServerNames, SigningRequest
from signer.core.validity import Validity
from signer.core.verify import ChainVerifier
from signer.core.verify_leaf import leaf_fault
from tests.corpus import csr_good
from tests.corpus.answers import asked, root
from tests.corpus.build import IDENTITY, csr_der, pem
from tests.corpus.case import Case
from tests.support.ca_files import cacerts, write
from tests.support.clock import DAY, HOUR, NOW
from tests.support.pki import CA_EXTENSIONS, key, make_ca


@pytest.fixture(params=["p256", "p384", "rsa2048"])
def ca(request: pytest.FixtureRequest, tmp_path: Path) -> HeldCa:
    """A CA of each kind."""
    signer = make_ca("signer", root(), kind=request.param)
    return load_ca(read_files(write(tmp_path, cacerts(signer, [], [root()])), None), NOW)


def _extension(leaf: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return leaf.extensions.get_extension_for_class(kind)


def _verified(ca: HeldCa, request: SigningRequest) -> x509.Certificate:
    leaf = sign_leaf(Template.of(ca), request)
    assert leaf_fault(leaf, request, NOW) is None
    ChainVerifier().verify(IssuedChain(leaf, ca.chain), request, TrustBundle.of([root().certificate]), NOW)
    return leaf


@pytest.mark.parametrize("case", csr_good.CORPUS.cases, ids=str)
def test_every_good_csr(case: Case[str], ca: HeldCa) -> None:
    """Whatever proxies ask for, what they get is verified."""
    request = replace(asked(), csr=check_csr(parse_csr(case.make()), IDENTITY))
    assert _verified(ca, request).public_key() == request.csr.parsed.key


def test_contents(ca: HeldCa) -> None:
    """An empty subject, a critical SAN, both roles, no CA."""
    leaf = _verified(ca, asked())
    assert not leaf.subject.rdns
    assert _extension(leaf, x509.SubjectAlternativeName).critical
    assert _extension(leaf, x509.BasicConstraints).critical
    assert _extension(leaf, x509.KeyUsage).critical
    assert not _extension(leaf, x509.ExtendedKeyUsage).critical
    assert len(list(leaf.extensions)) == 5
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (NOW - timedelta(seconds=60), NOW + HOUR)


def test_serials_differ(ca: HeldCa) -> None:
    """Unguessable, so never the same."""
    template = Template.of(ca)
    serials = {sign_leaf(template, asked()).serial_number for _ in range(50)}
    assert len(serials) == 50
    assert min(serial.bit_length() for serial in serials) > 100


def test_nothing_of_the_csr_but_its_key(ca: HeldCa) -> None:
    """Extensions come from the template: the CSR's own are not copied."""
    csr = check_csr(parse_csr(csr_good.not_a_ca()), IDENTITY)
    plain = _verified(ca, asked())
    leaf = _verified(ca, replace(asked(), csr=csr))
    assert [e.oid for e in leaf.extensions] == [e.oid for e in plain.extensions]


def test_rsa_keys_may_encipher(ca: HeldCa) -> None:
    """TLS 1.2 with RSA key exchange needs it; EC keys do without."""
    agent = replace(asked(), csr=check_csr(parse_csr(csr_good.agent()), IDENTITY))
    for request, encipher in ((agent, True), (asked(), False)):
        usage = _verified(ca, request).extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_encipherment is encipher


def test_never_past_the_ca(ca: HeldCa) -> None:
    """Even if asked."""
    longer = Validity(NOW, ca.window[1] + DAY, 0)
    assert sign_leaf(Template.of(ca), replace(asked(), validity=longer)).not_valid_after_utc == ca.window[1]


def test_server_names(ca: HeldCa) -> None:
    """The signer's own certificate."""
    names = ServerNames(("a.example", "*.b.example"), (ip_address("10.0.0.1"), ip_address("::1")))
    request = SigningRequest("s", names, own_server_csr(parse_csr(pem(csr_der()))), asked().validity)
    leaf = _verified(ca, request)
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ) == ["a.example", "*.b.example"]


def test_authority_key_id() -> None:
    """The issuer's own identifier where it has one, else one made from its key."""
    own = x509.SubjectKeyIdentifier(b"its own")
    with_own = make_ca("with", root(), extensions=(*CA_EXTENSIONS, (own, False))).certificate
    assert authority_key_id(with_own).key_identifier == b"its own"
    bare = make_ca("bare", root())
    made = x509.SubjectKeyIdentifier.from_public_key(key("p256/bare").public_key())
    assert authority_key_id(bare.certificate).key_identifier == made.digest
