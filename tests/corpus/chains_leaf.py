"""Returned leaves that are not what was asked for: root <- intermediate <- leaf, and the leaf is wrong."""

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from signer.core.errors import ChainRejected
from tests.corpus.answers import ASKED, Answer, leaf, through
from tests.corpus.build import URI
from tests.corpus.case import Corpus
from tests.support import der
from tests.support.clock import HOUR, NOW, SECOND
from tests.support.pki import BOTH_ROLES, Extension, Quirk, changed, key, leaf_extensions, san, spki, usage

CORPUS: Corpus[Answer] = Corpus()
_GOOD = leaf_extensions(URI)
_ADMIN = URI.replace("api", "admin")


def _with(*new: Extension, subject: str = "") -> Answer:
    return through(leaf(extensions=changed(_GOOD, *new), subject=subject))


def _without(kind: type[x509.ExtensionType]) -> Answer:
    return through(leaf(extensions=changed(_GOOD, without=(kind,))))


@CORPUS.bad(ChainRejected, "leaf key: its key is not the CSR's")
def other_key() -> Answer:
    """leaf[another key]: the backend made a key of its own, or answered somebody else."""
    return through(leaf(public=spki(key("p256/other"))))


@CORPUS.bad(ChainRejected, "leaf ")
def unknown_key_algorithm() -> Answer:
    """leaf[a key of an algorithm that nobody knows]."""
    return through(leaf(public=der.sequence(der.sequence(der.oid("1.3.6.1.4.1.55555.1")), der.bits(b"\x01" * 32))))


@CORPUS.bad(ChainRejected, "leaf names: it names 'spiffe://cluster.local/ns/payments/sa/admin' instead of")
def other_san() -> Answer:
    """leaf[SAN: admin]."""
    return _with((san(_ADMIN), True))


@CORPUS.bad(ChainRejected, "leaf names: it names")
def extra_uri() -> Answer:
    """leaf[SAN: the right URI, admin]."""
    return _with((san(URI, _ADMIN), True))


@CORPUS.bad(ChainRejected, "leaf names: it names")
def extra_dns() -> Answer:
    """leaf[SAN: the right URI, DNS:api]: a backend that copies a CN into the SAN (istio#10820)."""
    both = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URI), x509.DNSName("api")])
    return _with((both, True))


@CORPUS.bad(ChainRejected, "leaf names: it has no subjectAltName")
def no_san() -> Answer:
    """leaf[CN=api, no SAN]."""
    return through(leaf(extensions=changed(_GOOD, without=(x509.SubjectAlternativeName,)), subject="api"))


@CORPUS.bad(ChainRejected, "leaf names: its subject is empty and its subjectAltName not critical")
def san_not_critical() -> Answer:
    """leaf[empty subject, SAN not critical] (RFC 5280 section 4.2.1.6)."""
    return _with((san(URI), False))


@CORPUS.good
def san_not_critical_beside_a_subject() -> Answer:
    """leaf[CN=api, SAN not critical]: with a subject that is allowed."""
    return _with((san(URI), False), subject="api")


@CORPUS.bad(ChainRejected, "leaf ")
def x400_name() -> Answer:
    """leaf[SAN: x400Address]: a name that the library knows but does not support."""
    odd = x509.UnrecognizedExtension(
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der.sequence(der.context(3, der.sequence()))
    )
    return through(leaf(extensions=(*changed(_GOOD, without=(x509.SubjectAlternativeName,)), (odd, True))))


@CORPUS.bad(ChainRejected, "leaf form: it cannot be parsed")
def san_twice() -> Answer:
    """leaf[SAN: the right URI; SAN: admin]: two extensions of one type."""
    return through(leaf(extensions=(*_GOOD, (san(_ADMIN), True))))


@CORPUS.bad(ChainRejected, "leaf ca: it is a CA certificate")
def ca_leaf() -> Answer:
    """leaf[CA:TRUE]: its holder could sign for the whole mesh."""
    return _with((x509.BasicConstraints(ca=True, path_length=None), True))


@CORPUS.good
def no_basic_constraints() -> Answer:
    """leaf[no basicConstraints]: not a CA by default."""
    return _without(x509.BasicConstraints)


@CORPUS.bad(ChainRejected, "leaf key-usage: its keyUsage must hold digitalSignature and nothing of a CA's")
def key_cert_sign() -> Answer:
    """leaf[keyUsage digitalSignature, keyCertSign]."""
    return _with((usage("digital_signature", "key_cert_sign"), True))


@CORPUS.bad(ChainRejected, "leaf key-usage: its keyUsage must hold digitalSignature and nothing of a CA's")
def crl_sign() -> Answer:
    """leaf[keyUsage digitalSignature, cRLSign]."""
    return _with((usage("digital_signature", "crl_sign"), True))


@CORPUS.bad(ChainRejected, "leaf key-usage: its keyUsage must hold digitalSignature and nothing of a CA's")
def no_digital_signature() -> Answer:
    """leaf[keyUsage keyEncipherment]: of no use in TLS 1.3."""
    return _with((usage("key_encipherment"), True))


@CORPUS.bad(ChainRejected, "leaf key-usage: it has no keyUsage")
def no_key_usage() -> Answer:
    """leaf[no keyUsage]."""
    return _without(x509.KeyUsage)


@CORPUS.bad(ChainRejected, "leaf extended-key-usage: its extendedKeyUsage is not serverAuth and clientAuth")
def no_client_auth() -> Answer:
    """leaf[extendedKeyUsage serverAuth]: the workload could not call anybody."""
    return _with((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))


@CORPUS.bad(ChainRejected, "leaf extended-key-usage: its extendedKeyUsage is not serverAuth and clientAuth")
def code_signing() -> Answer:
    """leaf[extendedKeyUsage serverAuth, clientAuth, codeSigning]."""
    return _with((x509.ExtendedKeyUsage([*BOTH_ROLES, ExtendedKeyUsageOID.CODE_SIGNING]), False))


@CORPUS.bad(ChainRejected, "leaf extended-key-usage: its extendedKeyUsage is not serverAuth and clientAuth")
def no_extended_key_usage() -> Answer:
    """leaf[no extendedKeyUsage]: good for everything, mail and code included."""
    return _without(x509.ExtendedKeyUsage)


@CORPUS.bad(ChainRejected, "leaf critical: critical extensions that proxies do not know: 1.3.6.1.4.1.55555.2")
def unknown_critical() -> Answer:
    """leaf[an unknown critical extension]: every peer would refuse it."""
    return _with((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), der.NULL), True))


@CORPUS.good
def unknown_not_critical() -> Answer:
    """leaf[an unknown extension, not critical]: Vault and cert-manager may add such."""
    return _with((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), der.NULL), False))


@CORPUS.bad(ChainRejected, "leaf window: it ends at")
def longer_life() -> Answer:
    """leaf[ends an hour later than asked]."""
    return through(leaf(window=(ASKED.not_before, ASKED.not_after + HOUR)))


@CORPUS.good
def shorter_life() -> Answer:
    """leaf[ends half an hour earlier than asked]: a backend may."""
    return through(leaf(window=(ASKED.not_before, ASKED.not_after - HOUR / 2)))


@CORPUS.good
def another_clock() -> Answer:
    """leaf[starts and ends 25 s late]: the remote signer's clock is ahead of ours by so much."""
    return through(leaf(window=(NOW + 25 * SECOND, ASKED.not_after + 25 * SECOND)))


@CORPUS.bad(ChainRejected, "leaf window: it has already ended")
def already_expired() -> Answer:
    """leaf[ended this very second]."""
    return through(leaf(window=(NOW - 2 * SECOND, NOW)))


@CORPUS.bad(ChainRejected, "leaf window: it starts at")
def not_yet_valid() -> Answer:
    """leaf[starts in a minute]."""
    return through(leaf(window=(NOW + timedelta(minutes=1), ASKED.not_after)))


@CORPUS.bad(ChainRejected, "leaf window: it starts at")
def backdated_by_an_hour() -> Answer:
    """leaf[started an hour ago]: ztunnel would think half of its life over and fetch in a loop."""
    return through(leaf(window=(NOW - HOUR, ASKED.not_after)))


@CORPUS.good
def backdated_by_five_minutes() -> Answer:
    """leaf[started five minutes ago]: what kube-controller-manager does."""
    return through(leaf(window=(NOW - timedelta(minutes=5), ASKED.not_after)))


@CORPUS.bad(ChainRejected, "leaf signature: it is signed with sha")
def sha1() -> Answer:
    """leaf[signed with ecdsa-with-SHA1]: no peer accepts it."""
    return through(leaf(quirk=Quirk(digest=hashes.SHA1())))


@CORPUS.bad(ChainRejected, "leaf signature: it is signed with sha")
def sha224() -> Answer:
    """leaf[signed with ecdsa-with-SHA224]: webpki knows no such signature."""
    return through(leaf(quirk=Quirk(digest=hashes.SHA224())))


@CORPUS.bad(ChainRejected, "leaf signature: it is signed with sha")
def sha3() -> Answer:
    """leaf[signed with ecdsa-with-SHA3-256]: nor this one."""
    return through(leaf(quirk=Quirk(digest=hashes.SHA3_256())))


@CORPUS.bad(ChainRejected, "path: ")
def algorithms_differ() -> Answer:
    """leaf[signed with SHA-256, SHA-384 named inside] (RFC 5280 section 4.1.1.2: they must be the same)."""
    return through(leaf(quirk=Quirk(claimed=hashes.SHA384())))
