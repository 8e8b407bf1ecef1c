"""Keys and signatures that must not be certified."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.core.errors import CsrMalformed, CsrRejected
from tests.corpus.build import URI, csr_der, good_csr, pem, wants
from tests.corpus.case import Corpus

CORPUS: Corpus[str] = Corpus()


@CORPUS.bad(CsrRejected, "key: RSA keys must have 2048 to 8192 bits")
def rsa_1024() -> str:
    """RSA-1024: within reach of those who can pay."""
    return good_csr("rsa1024")


@CORPUS.bad(CsrRejected, "key: RSA keys must have 2048 to 8192 bits, this one has 16384")
def rsa_16384() -> str:
    """RSA-16384, not even a real key: refused by size, before a signature check that would cost its square."""
    public = rsa.RSAPublicNumbers(65537, (1 << 16383) + 12345).public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pem(csr_der(wants(URI), public=encoded, signer="rsa2048"))


@CORPUS.bad(CsrRejected, "key: the key is Ed25519")
def ed25519() -> str:
    """Ed25519: no Envoy loads such a leaf."""
    return good_csr("ed25519")


@CORPUS.bad(CsrRejected, "key: the key is Ed448")
def ed448() -> str:
    """Ed448: neither Envoy nor ztunnel knows it."""
    return good_csr("ed448")


@CORPUS.bad(CsrRejected, "key: the key is secp521r1")
def p521() -> str:
    """P-521: rustls with ring verifies no such signature."""
    return good_csr("p521")


@CORPUS.bad(CsrRejected, "key: the key is secp256k1")
def secp256k1() -> str:
    """secp256k1: P-256's look-alike in size, unknown to TLS."""
    return good_csr("secp256k1")


@CORPUS.bad(CsrMalformed, "signature does not match")
def sha1_ecdsa() -> str:
    """P-256, ecdsa-with-SHA1: the proof of possession can be forged, so it proves nothing."""
    return pem(csr_der(wants(URI), digest=hashes.SHA1()))


@CORPUS.bad(CsrMalformed, "signature does not match")
def sha1_rsa() -> str:
    """RSA-2048, sha1WithRSAEncryption."""
    return pem(csr_der(wants(URI), by="rsa2048", digest=hashes.SHA1()))


@CORPUS.bad(CsrMalformed, "signature does not match")
def md5_rsa() -> str:
    """RSA-2048, md5WithRSAEncryption."""
    return pem(csr_der(wants(URI), by="rsa2048", digest=hashes.MD5()))


@CORPUS.bad(CsrMalformed, "")
def signature_of_another_kind() -> str:
    """P-256 in the SubjectPublicKeyInfo, an RSA signature under it."""
    return pem(csr_der(wants(URI), signer="rsa2048"))
