"""Client certificates: whose they are, whether they lead to the roots in force, and how long they renew themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from signer.authn import client_cert
from signer.authn.client_cert import METHOD, CertificatePolicy, ClientCertificates
from signer.authn.origins import Origins
from signer.authn.proofs import Proofs
from signer.core.chain import TrustBundle
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from signer.core.identity import SpiffeId, TrustDomain
from signer.core.types import Caller, Credentials, IssuedChain, Secret
from signer.core.validity import Window
from signer.core.verify import Path, prove_path
from tests.support.clock import DAY, HOUR, NOW, SECOND, FakeClock
from tests.support.pki import (
    CA_EXTENSIONS,
    CA_WINDOW,
    PLAIN,
    Ca,
    Extension,
    Quirk,
    certificate,
    changed,
    key,
    leaf_extensions,
    make_ca,
    make_leaf,
    name,
    san,
    spki,
    usage,
)

URI = "spiffe://cluster.local/ns/payments/sa/api"
IDENTITY = SpiffeId.parse(URI)
ROOT = make_ca("mesh root")
MIDDLE = make_ca("mesh intermediate", ROOT)
OTHER = make_ca("other root")
KEY = key("p256/client")
GOOD = leaf_extensions(URI)
_NAMES = x509.NameConstraints([x509.UniformResourceIdentifier("cluster.local")], None)
CONSTRAINED = make_ca("constrained", ROOT, extensions=(*CA_EXTENSIONS, (_NAMES, True)))
CONSTRAINED_ROOT = make_ca("constrained root", extensions=(*CA_EXTENSIONS, (_NAMES, False)))
_OTHER_NAMES = x509.NameConstraints([x509.DNSName("example.org")], None)
DNS_ROOT = make_ca("dns root", extensions=(*CA_EXTENSIONS, (_OTHER_NAMES, True)))
ROOTS = TrustBundle.of(root.certificate for root in (ROOT, CONSTRAINED_ROOT, DNS_ROOT))
ENDING = make_ca("ending", ROOT, window=(NOW - DAY, NOW + 10 * SECOND))
LIMITED = make_ca("limited", ROOT, extensions=changed(CA_EXTENSIONS, (x509.BasicConstraints(True, 0), True)))
UNDER_LIMITED = make_ca("under limited", LIMITED)
NO_CA = make_ca("no ca", ROOT, extensions=changed(CA_EXTENSIONS, (x509.BasicConstraints(False, None), True)))
_WEAK = certificate(
    *(name("weak"), spki(key("p256/weak")), ROOT.certificate.subject, ROOT.key),
    window=CA_WINDOW,
    extensions=CA_EXTENSIONS,
    quirk=Quirk(digest=hashes.SHA1()),
)
WEAK = Ca(_WEAK, key("p256/weak"))
_SPAN: Window = (NOW - timedelta(seconds=60), NOW + HOUR)


def leaf(
    parent: Ca = ROOT, extensions: Sequence[Extension] = GOOD, window: Window = _SPAN, quirk: Quirk = PLAIN
) -> bytes:
    """A client's certificate."""
    return Ca(make_leaf(parent, spki(KEY), extensions, window=window, quirk=quirk), KEY).pem


def self_signed() -> bytes:
    """A client's certificate by nobody else."""
    mine = certificate(name("me"), spki(KEY), name("me"), KEY, window=_SPAN, extensions=GOOD)
    return Ca(mine, KEY).pem


def names(*values: x509.GeneralName) -> tuple[Extension, ...]:
    """A good leaf's extensions, with other names."""
    return changed(GOOD, (x509.SubjectAlternativeName(list(values)), True))


@dataclass
class Desk:
    """The authenticator with all that it stands on."""

    max_age: timedelta | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    bundle: TrustBundle = ROOTS
    asked: str = ""

    def __post_init__(self) -> None:
        policy = CertificatePolicy(TrustDomain("cluster.local"), "home", self.max_age)
        self.proofs = Proofs(self.clock)
        self.judge = ClientCertificates(
            policy, lambda: self.bundle, self.proofs, self.clock, Origins(), lambda _: True, lambda *_: self.asked
        )

    async def ask(self, *chain: bytes) -> Caller:
        """Show a chain; the token and the cluster that come with it must not matter."""
        return await self.judge.authenticate(Credentials(Secret("token"), "elsewhere", chain))

    async def refused(self, *chain: bytes) -> str:
        """Show a chain that must be refused; give the reason."""
        with pytest.raises(AuthenticationFailed) as caught:
            await self.ask(*chain)
        assert caught.value.reason.startswith("client certificate: ")
        assert caught.value.reason.isprintable()
        assert "BEGIN" not in caught.value.reason
        return caught.value.reason


_NO_EKU = changed(GOOD, without=(x509.ExtendedKeyUsage,))
_NO_ROLES = changed(GOOD, without=(x509.KeyUsage, x509.ExtendedKeyUsage, x509.BasicConstraints))


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param((leaf(),), id="by the root"),
        pytest.param((leaf(), ROOT.pem), id="with the root"),
        pytest.param((leaf(MIDDLE), MIDDLE.pem), id="by an intermediate"),
        pytest.param((leaf(MIDDLE), ROOT.pem, MIDDLE.pem), id="in another order"),
        pytest.param((leaf(extensions=_NO_EKU),), id="no extendedKeyUsage"),
        pytest.param((leaf(extensions=_NO_ROLES),), id="names alone"),
    ],
)
async def test_good(chain: tuple[bytes, ...]) -> None:
    """The identity of its one name, the local cluster, its own serial number; the same when it is remembered."""
    desk, serial = Desk(), x509.load_pem_x509_certificate(chain[0]).serial_number
    for _ in range(2):
        assert await desk.ask(*chain) == Caller(IDENTITY, METHOD, "home", None, serial, issued_to=None)


_DNS = x509.DNSName("api.payments")
_ID = x509.UniformResourceIdentifier(URI)
_CRITICAL = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
_SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_CA_FLAG: Extension = (x509.BasicConstraints(ca=True, path_length=None), True)
_SIGNS: Extension = (usage("digital_signature", "key_cert_sign"), True)


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        pytest.param((), "none was shown", id="none"),
        pytest.param((leaf(window=(NOW - DAY, NOW)),), "it is valid from", id="expired"),
        pytest.param((leaf(window=(NOW + SECOND, NOW + DAY)),), "it is valid from", id="not yet valid"),
        pytest.param((leaf(OTHER),), "path: ", id="another CA"),
        pytest.param((leaf(OTHER), OTHER.pem), "path: ", id="another CA, shown"),
        pytest.param((leaf(MIDDLE),), "path: ", id="intermediate missing"),
        pytest.param((self_signed(),), "path: ", id="self-signed"),
        pytest.param((leaf(NO_CA), NO_CA.pem), "path: ", id="by no CA"),
        pytest.param((leaf(UNDER_LIMITED), UNDER_LIMITED.pem, LIMITED.pem), "path: ", id="longer than allowed"),
        pytest.param((leaf(WEAK), WEAK.pem), "path: ", id="sha1 in the path"),
        pytest.param((leaf(extensions=(*GOOD, (_CRITICAL, True))),), "path: ", id="unknown critical extension"),
        pytest.param((leaf(quirk=Quirk(digest=hashes.SHA1())),), "it is signed with sha1", id="sha1"),
        pytest.param((leaf(CONSTRAINED), CONSTRAINED.pem), "an issuer has name constraints", id="constrained"),
        pytest.param((leaf(CONSTRAINED_ROOT),), "unsupported name constraint", id="constrained root"),
        pytest.param((leaf(DNS_ROOT),), "an issuer has name constraints", id="root constrained in other names"),
        pytest.param((leaf(extensions=changed(GOOD, (san(URI, URI), True))),), "it has 2 names", id="two URIs"),
        pytest.param((leaf(extensions=names(_ID, _DNS)),), "it has 2 names", id="URI and DNS"),
        pytest.param((leaf(extensions=names(_DNS)),), "must be one URI", id="DNS"),
        pytest.param(
            (leaf(extensions=changed(GOOD, without=(x509.SubjectAlternativeName,))),), "0 names", id="no names"
        ),
        pytest.param((leaf(extensions=leaf_extensions("spiffe://cluster.local/vm")),), "not a valid", id="other shape"),
        pytest.param((leaf(extensions=leaf_extensions(URI.replace(".l", ".L"))),), "not a valid", id="other case"),
        pytest.param(
            (leaf(extensions=leaf_extensions("spiffe://else.where/ns/payments/sa/api")),),
            "its trust domain is 'else.where', not cluster.local",
            id="another trust domain",
        ),
        pytest.param((leaf(extensions=changed(GOOD, _CA_FLAG)),), "it is a CA certificate", id="CA"),
        pytest.param((leaf(extensions=changed(GOOD, _SIGNS)),), "it is a CA certificate", id="keyCertSign"),
        pytest.param((leaf(extensions=changed(GOOD, (_SERVER, False))),), "lacks clientAuth", id="no clientAuth"),
        pytest.param((leaf(), *[MIDDLE.pem] * 8), "the chain has over 8", id="too many"),
        pytest.param((leaf(), b"#" * 65536 + MIDDLE.pem), "or 65536 bytes", id="too large"),
        pytest.param((leaf() + MIDDLE.pem,), "not one certificate each", id="two in one"),
        pytest.param((leaf()[:-40],), "cannot be parsed", id="cut off"),
        pytest.param((b"nonsense",), "cannot be parsed", id="nonsense"),
    ],
)
async def test_refused(chain: tuple[bytes, ...], reason: str) -> None:
    """Each with its own reason, and again when asked again."""
    desk = Desk()
    for _ in range(2):
        assert reason in await desk.refused(*chain)


async def test_the_bundle_of_now_counts() -> None:
    """A proof under other roots is none; no roots at all are our fault, and the caller tries again."""
    desk = Desk()
    await desk.ask(leaf())
    before, desk.bundle = desk.bundle, TrustBundle.of([OTHER.certificate])
    assert "path: " in await desk.refused(leaf())
    desk.bundle = TrustBundle.of([])
    with pytest.raises(AuthenticationUnavailable, match="client certificate: the trust bundle is empty"):
        await desk.ask(leaf())
    desk.bundle = before
    await desk.ask(leaf())


async def test_a_remembered_path_ends_with_its_cas() -> None:
    """The proof is remembered, the windows are not."""
    desk, chain = Desk(), (leaf(ENDING), ENDING.pem)
    await desk.ask(*chain)
    desk.clock.advance(10)
    assert "its CAs are valid from" in await desk.refused(*chain)


async def test_a_remembered_leaf_ends() -> None:
    """And with its leaf."""
    desk, shown = Desk(), leaf()
    await desk.ask(shown)
    desk.clock.advance(HOUR)
    assert "it is valid from" in await desk.refused(shown)


async def test_paths_are_proven_once_and_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what was shown; the one unused for longest goes."""
    proofs: list[IssuedChain] = []

    def prove(shown: IssuedChain, bundle: TrustBundle, now: datetime) -> Path:
        proofs.append(shown)
        return prove_path(shown, bundle, now)

    monkeypatch.setattr("signer.authn.client_cert.prove_path", prove)
    monkeypatch.setattr(client_cert, "MAX_PROVEN_CHAINS", 2)
    desk, one, two, three = Desk(), leaf(), leaf(), leaf()
    for shown, proven in ((one, 1), (one, 1), (two, 2), (one, 2), (three, 3), (one, 3), (two, 4)):
        await desk.ask(shown)
        assert len(proofs) == proven


async def test_age_since_the_last_token() -> None:
    """Up to the limit and not beyond; a new token starts anew."""
    desk, shown = Desk(max_age=timedelta(minutes=10)), leaf()
    desk.proofs.proven(IDENTITY)
    desk.clock.advance(600)
    await desk.ask(shown)
    desk.clock.advance(1)
    assert "a token proved it 601 s ago, renewal is allowed for 600 s" in await desk.refused(shown)
    desk.proofs.proven(IDENTITY)
    await desk.ask(shown)


async def test_an_unknown_age_is_no_bar() -> None:
    """As after a restart, and for machines that never had a token; others' tokens do not matter."""
    desk = Desk(max_age=timedelta(seconds=1))
    desk.proofs.proven(SpiffeId.parse("spiffe://cluster.local/ns/payments/sa/other"))
    desk.clock.advance(60)
    await desk.ask(leaf())


async def test_no_limit() -> None:
    """Any age will do."""
    desk = Desk()
    desk.proofs.proven(IDENTITY)
    desk.clock.advance(3000)
    await desk.ask(leaf())


def test_chains_are_not_shown() -> None:
    """Not by repr: credentials end in logs of faults."""
    assert "BEGIN" not in repr(Credentials(None, "", (leaf(),)))


async def test_what_the_configuration_asks_and_it_does_not_tell() -> None:
    desk = Desk()
    desk.asked = "route 'x' looks at the cluster"
    assert await desk.refused(leaf()) == "client certificate: route 'x' looks at the cluster"
