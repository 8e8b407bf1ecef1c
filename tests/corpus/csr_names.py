"""Names other than exactly the granted identity, spiffe://cluster.local/ns/payments/sa/api."""

from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID

from signer.core.errors import CsrMalformed, CsrRejected, IdentityRejected
from tests.corpus.build import URI, csr_der, pem, wants, wants_raw
from tests.corpus.case import Corpus
from tests.support import der
from tests.support.pki import name

CORPUS: Corpus[str] = Corpus()
_ONE_URI = "names: it must hold exactly one name, a URI"


def _asks(*names: x509.GeneralName) -> str:
    return pem(csr_der(der.extension(x509.SubjectAlternativeName(names))))


@CORPUS.bad(IdentityRejected, f"{_ONE_URI}; it holds: none")
def no_san() -> str:
    """No subjectAltName: the CSR asks to be nobody."""
    return pem(csr_der())


@CORPUS.bad(IdentityRejected, f"{_ONE_URI}; it holds: none")
def empty_san() -> str:
    """subjectAltName with no name in it (RFC 5280 section 4.2.1.6 forbids it)."""
    return pem(csr_der(der.raw_extension("2.5.29.17", der.sequence())))


@CORPUS.bad(IdentityRejected, f"{_ONE_URI}; it holds: DNSName")
def dns() -> str:
    """SAN: DNS:istiod.istio-system.svc, a server's name."""
    return _asks(x509.DNSName("istiod.istio-system.svc"))


@CORPUS.bad(IdentityRejected, f"{_ONE_URI}; it holds: IPAddress")
def ip() -> str:
    """SAN: IP:10.0.0.1."""
    return _asks(x509.IPAddress(ip_address("10.0.0.1")))


@CORPUS.bad(IdentityRejected, f"{_ONE_URI}; it holds: RFC822Name")
def email() -> str:
    """SAN: email:api@payments.example."""
    return _asks(x509.RFC822Name("api@payments.example"))


@CORPUS.bad(IdentityRejected, f"{_ONE_URI}; it holds: OtherName")
def other_name() -> str:
    """SAN: otherName, a Windows logon name."""
    return _asks(x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), der.tlv(0x0C, b"api")))


@CORPUS.bad(IdentityRejected, f"{_ONE_URI}; it holds: DirectoryName")
def directory_name() -> str:
    """SAN: dirName:CN=api."""
    return _asks(x509.DirectoryName(name("api")))


@CORPUS.bad(CsrRejected, "subject: the subject holds CN")
def common_name() -> str:
    """CN=admin.example beside the right SAN: some backends copy a CN into the SAN."""
    return pem(csr_der(wants(URI), subject=name("admin.example").public_bytes()))


@CORPUS.bad(CsrRejected, "subject: the subject holds O")
def organization() -> str:
    """O=system:masters beside the right SAN: to Kubernetes a group."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")])
    return pem(csr_der(wants(URI), subject=subject.public_bytes()))


@CORPUS.bad(CsrRejected, "subject: the subject holds CN")
def empty_common_name() -> str:
    """CN="": only O may be there and empty, since only that is seen in the wild."""
    return pem(csr_der(wants(URI), subject=der.attribute("2.5.4.3", der.tlv(0x0C))))


@CORPUS.bad(IdentityRejected, _ONE_URI)
def dns_and_right_uri() -> str:
    """SAN: DNS:a.example, the right URI."""
    return _asks(x509.DNSName("a.example"), x509.UniformResourceIdentifier(URI))


@CORPUS.bad(IdentityRejected, _ONE_URI)
def right_uri_and_dns() -> str:
    """SAN: the right URI, DNS:a.example: the right name coming first excuses nothing."""
    return _asks(x509.UniformResourceIdentifier(URI), x509.DNSName("a.example"))


@CORPUS.bad(IdentityRejected, _ONE_URI)
def two_uris() -> str:
    """SAN: the right URI, that of admin."""
    return pem(csr_der(wants(URI, URI.replace("api", "admin"))))


@CORPUS.bad(IdentityRejected, _ONE_URI)
def right_uri_twice() -> str:
    """SAN: the right URI, the right URI: istiod's peers demand exactly one."""
    return pem(csr_der(wants(URI, URI)))


@CORPUS.bad(IdentityRejected, "it asks for spiffe://cluster.local/ns/payments/sa/admin")
def another_account() -> str:
    """SAN: another service account of the same namespace."""
    return pem(csr_der(wants(URI.replace("api", "admin"))))


@CORPUS.bad(IdentityRejected, "it asks for spiffe://cluster.local/ns/kube-system/sa/api")
def another_namespace() -> str:
    """SAN: the same service account of another namespace."""
    return pem(csr_der(wants(URI.replace("payments", "kube-system"))))


@CORPUS.bad(IdentityRejected, "it asks for spiffe://other.example/ns/payments/sa/api")
def another_trust_domain() -> str:
    """SAN: the same namespace and account of another trust domain."""
    return pem(csr_der(wants(URI.replace("cluster.local", "other.example"))))


@CORPUS.bad(IdentityRejected, "names: it asks for")
def longer_by_a_letter() -> str:
    """SAN: the right URI with a letter more; a prefix match would pass it."""
    return pem(csr_der(wants(URI + "s")))


# What is wrong -> the URI. Each is "the right one" to some parser that folds, trims, decodes or matches by prefix.
ODD_URIS: dict[str, str] = {
    "newline at the end": URI + "\n",
    "space at the end": URI + " ",
    "space in front": " " + URI,
    "NUL at the end": URI + "\0",
    "NUL and more": URI + "\0.example",
    "scheme in upper case": URI.replace("spiffe", "SPIFFE"),
    "another scheme": URI.replace("spiffe", "https"),
    "trust domain in upper case": URI.replace("cluster.local", "Cluster.Local"),
    "namespace in upper case": URI.replace("payments", "Payments"),
    "percent encoded letter": URI.replace("api", "%61pi"),
    "percent encoded slash": URI.replace("/sa/", "%2Fsa%2F"),
    "slash at the end": URI + "/",
    "query": URI + "?x=1",
    "fragment": URI + "#x",
    "port": URI.replace("cluster.local", "cluster.local:443"),
    "user": URI.replace("cluster.local", "x@cluster.local"),
    "empty namespace": URI.replace("payments", ""),
    "empty account": URI.replace("api", ""),
    "empty trust domain": URI.replace("cluster.local", ""),
    "empty segment": URI.replace("/sa/", "//sa/"),
    "dot segments": URI.replace("/sa/", "/x/../sa/"),
    "ns twice": URI.replace("/ns/", "/ns/ns/"),
    "sa missing": URI.replace("/sa/", "/"),
    "sa and ns swapped": "spiffe://cluster.local/sa/api/ns/payments",
    "a segment more": URI + "/pod",
    "trust domain only": "spiffe://cluster.local",
    "underscore in the account": URI.replace("api", "a_i"),
    "backslash": URI.replace("/sa/", "\\sa\\"),
    "no text": "",
    "3 KB": URI + "a" * 3000,
    "3 KB of dots": URI + ".a" * 1500,
}


def _enter_odd(what: str, uri: str) -> None:
    def make() -> str:
        return pem(csr_der(wants_raw(uri.encode("ascii"))))

    make.__name__ = f"odd_{what.replace(' ', '_')}"
    make.__doc__ = f"SAN: a URI with an oddity: {what}."
    CORPUS.bad(IdentityRejected, "names: ")(make)


for _what, _uri in ODD_URIS.items():
    _enter_odd(_what, _uri)


@CORPUS.bad(CsrMalformed, "cannot be parsed")
def not_ascii() -> str:
    """SAN: Latin-1 in the account; an IA5String is ASCII."""
    return pem(csr_der(wants_raw(URI.replace("api", "ap\xed").encode("latin-1"))))


@CORPUS.bad(IdentityRejected, "names: not a valid service account: '\\u0430pi'")
def look_alike() -> str:
    """SAN: a Cyrillic letter that looks like the Latin one, in UTF-8."""
    return pem(csr_der(wants_raw(URI.replace("api", "\u0430pi").encode())))
