"""Returned chains whose leaf is right and whose way to the trust bundle is not, or is an unusual one."""

from datetime import timedelta

from cryptography import x509

from signer.core.errors import ChainRejected
from tests.corpus.answers import Answer, answer, intermediate, laid_out, leaf, root, through
from tests.corpus.case import Corpus
from tests.support import der
from tests.support.clock import DAY, HOUR, NOW
from tests.support.pki import (
    CA_EXTENSIONS,
    CA_WINDOW,
    Ca,
    certificate,
    changed,
    make_ca,
    make_leaf,
    name,
    spki,
    usage,
)

CORPUS: Corpus[Answer] = Corpus()
_PATH_LENGTH_0 = changed(CA_EXTENSIONS, (x509.BasicConstraints(ca=True, path_length=0), True))
_UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), der.NULL)
_NOT_INSIDE = "path: the leaf is not inside its CAs"


def _below(issuer: Ca, *above: Ca, roots: tuple[Ca, ...] | None = None) -> Answer:
    return answer(leaf(issuer), issuer, *above, roots=roots)


@CORPUS.good
def root_intermediate_leaf() -> Answer:
    """root <- intermediate <- leaf: the plugged-in CA, without key identifiers."""
    return laid_out(through(leaf()), intermediate())


@CORPUS.good
def self_signed_ca() -> Answer:
    """root <- leaf: exactly two elements, [leaf, root]."""
    return answer(leaf(root()))


@CORPUS.good
def self_signed_ca_repeated() -> Answer:
    """root <- leaf, root among the issuers: still [leaf, root]."""
    return answer(leaf(root()), root())


@CORPUS.good
def root_among_the_issuers() -> Answer:
    """root <- intermediate <- leaf, root returned too, as Vault's ca_chain does: not repeated."""
    return laid_out(answer(leaf(), intermediate(), root()), intermediate())


@CORPUS.good
def superfluous_certificates() -> Answer:
    """root <- intermediate <- leaf, and two CAs that have nothing to do with it: dropped."""
    other = make_ca("other root")
    return laid_out(answer(leaf(), other, intermediate(), make_ca("other", other)), intermediate())


@CORPUS.good
def three_levels_shuffled() -> Answer:
    """root <- intermediate <- second <- leaf, returned top down: laid out bottom up."""
    second = make_ca("second", intermediate())
    return laid_out(answer(leaf(second), root(), intermediate(), second), second, intermediate())


@CORPUS.good
def same_twice() -> Answer:
    """root <- intermediate <- leaf, the intermediate returned twice: once in the answer."""
    return laid_out(answer(leaf(), intermediate(), intermediate()), intermediate())


@CORPUS.good
def two_roots_of_one_name() -> Answer:
    """root, root' (same name, another key) <- leaf: a root in rotation; the second one signs."""
    twin = make_ca("root", kind="p384")
    return answer(leaf(twin), roots=(root(), twin))


@CORPUS.good
def intermediate_renewed() -> Answer:
    """root <- intermediate, and the same name and key with a longer life, both returned: either will do."""
    renewed = make_ca("intermediate", root(), window=(CA_WINDOW[0], CA_WINDOW[1] + DAY))
    return laid_out(answer(leaf(renewed), renewed), renewed)


@CORPUS.good
def path_length_kept() -> Answer:
    """root <- intermediate[path length 0] <- leaf."""
    last = make_ca("last", root(), extensions=_PATH_LENGTH_0)
    return laid_out(_below(last), last)


@CORPUS.good
def no_key_usage_in_a_ca() -> Answer:
    """root <- intermediate[no keyUsage] <- leaf: old, but every proxy takes it."""
    old = make_ca("old", root(), extensions=changed(CA_EXTENSIONS, without=(x509.KeyUsage,)))
    return laid_out(_below(old), old)


@CORPUS.bad(ChainRejected, "path: ")
def wrong_root() -> Answer:
    """other root <- intermediate <- leaf; trusted is root."""
    return _below(make_ca("intermediate", make_ca("other root"), kind="p384"))


@CORPUS.bad(ChainRejected, "path: ")
def root_of_one_name_only() -> Answer:
    """root' <- leaf; trusted is root, of the same name with another key."""
    return answer(leaf(make_ca("root", kind="p384")))


@CORPUS.bad(ChainRejected, "path: the trust bundle is empty")
def nothing_trusted() -> Answer:
    """root <- intermediate <- leaf; trusted is nobody."""
    return _below(intermediate(), root(), roots=())


@CORPUS.bad(ChainRejected, "path: ")
def missing_intermediate() -> Answer:
    """root <- (intermediate) <- leaf, nothing returned beside the leaf."""
    return answer(leaf())


@CORPUS.bad(ChainRejected, "path: ")
def forged_signature() -> Answer:
    """root <- intermediate <- leaf signed by another key under the intermediate's name."""
    return answer(leaf(make_ca("intermediate", kind="p256/thief")), intermediate())


@CORPUS.bad(ChainRejected, "path: ")
def intermediate_not_ca() -> Answer:
    """root <- intermediate[CA:FALSE] <- leaf: a workload that plays CA."""
    workload = changed(CA_EXTENSIONS, (x509.BasicConstraints(ca=False, path_length=None), True))
    return _below(make_ca("workload", root(), extensions=workload))


@CORPUS.bad(ChainRejected, "path: ")
def intermediate_without_constraints() -> Answer:
    """root <- intermediate[no basicConstraints] <- leaf."""
    return _below(make_ca("bare", root(), extensions=changed(CA_EXTENSIONS, without=(x509.BasicConstraints,))))


@CORPUS.bad(ChainRejected, "path: ")
def intermediate_without_key_cert_sign() -> Answer:
    """root <- intermediate[keyUsage digitalSignature] <- leaf."""
    return _below(make_ca("no sign", root(), extensions=changed(CA_EXTENSIONS, (usage("digital_signature"), True))))


@CORPUS.bad(ChainRejected, "path: ")
def path_length_violated() -> Answer:
    """root <- intermediate[path length 0] <- second <- leaf."""
    last = make_ca("last", root(), extensions=_PATH_LENGTH_0)
    return _below(make_ca("one too many", last), last)


@CORPUS.bad(ChainRejected, _NOT_INSIDE)
def leaf_outlives_intermediate() -> Answer:
    """root <- intermediate[30 min left] <- leaf[1 h]: clients look at the leaf's end only."""
    return _below(make_ca("short", root(), window=(CA_WINDOW[0], NOW + HOUR / 2)))


@CORPUS.bad(ChainRejected, _NOT_INSIDE)
def leaf_outlives_root() -> Answer:
    """root[30 min left] <- intermediate <- leaf[1 h]."""
    short = make_ca("short root", window=(CA_WINDOW[0], NOW + HOUR / 2))
    return _below(make_ca("long", short), roots=(short,))


@CORPUS.bad(ChainRejected, "path: ")
def expired_intermediate() -> Answer:
    """root <- intermediate[ended yesterday] <- leaf."""
    return _below(make_ca("ended", root(), window=(CA_WINDOW[0], NOW - DAY)))


@CORPUS.bad(ChainRejected, "path: ")
def intermediate_not_yet_valid() -> Answer:
    """root <- intermediate[starts tomorrow] <- leaf."""
    return _below(make_ca("early", root(), window=(NOW + DAY, CA_WINDOW[1])))


@CORPUS.bad(ChainRejected, "path: ")
def expired_root() -> Answer:
    """root[ended yesterday] <- intermediate <- leaf."""
    ended = make_ca("ended root", window=(CA_WINDOW[0], NOW - DAY))
    return _below(make_ca("under ended", ended), roots=(ended,))


@CORPUS.bad(ChainRejected, "path: ")
def p521_ca() -> Answer:
    """root <- intermediate[P-521] <- leaf: rustls with ring verifies no such signature."""
    return _below(make_ca("p521", root(), kind="p521"))


@CORPUS.bad(ChainRejected, "path: ")
def rsa_1024_ca() -> Answer:
    """root <- intermediate[RSA-1024] <- leaf."""
    return _below(make_ca("rsa1024", root(), kind="rsa1024"))


@CORPUS.bad(ChainRejected, "path: ")
def unknown_critical_in_a_ca() -> Answer:
    """root <- intermediate[an unknown critical extension] <- leaf."""
    return _below(make_ca("odd", root(), extensions=(*CA_EXTENSIONS, (_UNKNOWN, True))))


@CORPUS.bad(ChainRejected, "path: ")
def critical_key_identifier_in_a_ca() -> Answer:
    """root <- intermediate[subjectKeyIdentifier, critical] <- leaf: known, but rustls' webpki refuses it so."""
    own = x509.SubjectKeyIdentifier(b"its own")
    return _below(make_ca("critical", root(), extensions=(*CA_EXTENSIONS, (own, True))))


@CORPUS.bad(ChainRejected, "path: ")
def unknown_key_in_a_ca() -> Answer:
    """root <- intermediate[a key of an algorithm that nobody knows] <- leaf."""
    public = der.sequence(der.sequence(der.oid("1.3.6.1.4.1.55555.1")), der.bits(b"\x01" * 32))
    odd = certificate(name("alien"), public, name("root"), root().key, window=CA_WINDOW, extensions=CA_EXTENSIONS)
    return answer(leaf(Ca(odd, intermediate().key)), Ca(odd, intermediate().key))


@CORPUS.bad(ChainRejected, "path: ")
def leaf_signs_leaf() -> Answer:
    """root <- intermediate <- workload's leaf <- leaf: a stolen leaf's key signs."""
    workload = Ca(leaf(subject="workload", public=spki(root().key)), root().key)
    own = make_leaf(workload, spki(intermediate().key), ())
    assert own.issuer == workload.certificate.subject
    return answer(leaf(workload), workload, intermediate())


@CORPUS.bad(ChainRejected, "path: ")
def too_deep() -> Answer:
    """root <- ca 1 <- ... <- ca 12 <- leaf: longer than anybody's chain."""
    chain = [root()]
    for number in range(12):
        chain.append(make_ca(f"ca {number}", chain[-1], window=(CA_WINDOW[0], CA_WINDOW[1] - timedelta(1))))
    return answer(leaf(chain[-1]), *chain[1:])
