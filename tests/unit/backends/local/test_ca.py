"""A CA's files, judged: what may sign, and what is said of what may not."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backends.held import ca as held_ca
from backends.held.ca import HeldCa, UnusableCa
from backends.local.ca import load_ca
from backends.local.files import read_files
from signer.core.chain import TrustBundle
from tests.corpus.answers import intermediate, leaf, root
from tests.support import der
from tests.support.ca_files import cacerts, encrypted, tls_secret, write
from tests.support.clock import DAY, NOW
from tests.support.pki import (
    CA_EXTENSIONS,
    CA_WINDOW,
    Ca,
    certificate,
    changed,
    key,
    key_pem,
    make_ca,
    name,
    usage,
    without_a_version,
)

Names = Callable[..., dict[str, bytes]]
_BOTH = pytest.mark.parametrize("names", [cacerts, tls_secret], ids=["cacerts", "tls-secret"])
_PLUGGED_IN = cacerts(intermediate(), [], [root()])


def _load(directory: Path, files: dict[str, bytes]) -> HeldCa:
    return load_ca(read_files(write(directory, files), None), NOW)


@_BOTH
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_plugged_in(names: Names, kind: str, tmp_path: Path) -> None:
    """root <- signer, both kinds of names, all kinds of keys."""
    signer = make_ca("signer", root(), kind=kind)
    ca = _load(tmp_path, names(signer, [], [root()]))
    assert ca.chain == (signer.certificate,)
    assert ca.bundle == TrustBundle.of([root().certificate])
    assert ca.window == CA_WINDOW
    assert ca.notes == ()


@_BOTH
@pytest.mark.parametrize("with_file", [True, False])
def test_self_signed(names: Names, with_file: bool, tmp_path: Path) -> None:
    """A root that signs itself, with or without a file of roots."""
    ca = _load(tmp_path, names(root(), [], [root()] if with_file else []))
    assert (ca.chain, ca.bundle.roots) == ((root().certificate,), (root().certificate,))


@_BOTH
@pytest.mark.parametrize("order", ["up", "down", "with root", "twice"])
def test_chain_in_any_order(names: Names, order: str, tmp_path: Path) -> None:
    """root <- intermediate <- second <- signer: laid out bottom up, without the root."""
    second = make_ca("second", intermediate())
    signer = make_ca("signer", second)
    above = {
        "up": [second, intermediate()],
        "down": [intermediate(), second],
        "with root": [root(), intermediate(), second],
        "twice": [second, second, intermediate(), second],
    }[order]
    ca = _load(tmp_path, names(signer, above, [root()]))
    assert ca.chain == (signer.certificate, second.certificate, intermediate().certificate)


def test_cross_signed_both_ways(tmp_path: Path) -> None:
    """The intermediate exists under the old root and under the new one: whichever comes first in the file."""
    old, new = make_ca("old root"), make_ca("new root")
    ways = [make_ca("crossed", old), make_ca("crossed", new)]
    signer = make_ca("signer", ways[0])
    for number, above in enumerate((ways, ways[::-1])):
        ca = _load(tmp_path / str(number), cacerts(signer, above, [new]))
        assert ca.chain == (signer.certificate, ways[1].certificate)


def test_many_renewals_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen renewals of one self-signed CA, each an issuer of each other: refused soon, not after 12! tries."""
    asked = count()

    def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        assert next(asked) < 1000
        return certificate.issuer == issuer.subject

    monkeypatch.setattr(held_ca, "issued", issued)
    renewals = [make_ca("renewed", window=(CA_WINDOW[0], CA_WINDOW[1] + number * DAY)) for number in range(12)]
    with pytest.raises(UnusableCa, match="no certificate of 'CN=renewed' leads on"):
        _load(tmp_path, cacerts(make_ca("signer", renewals[0]), renewals, [root()]))


def test_window_is_that_of_the_whole_path(tmp_path: Path) -> None:
    """The shortest-lived CA decides, the root included."""
    short = make_ca("short root", window=(CA_WINDOW[0] + DAY, NOW + DAY))
    ca = _load(tmp_path, cacerts(make_ca("signer", short), [], [short]))
    assert ca.window == (CA_WINDOW[0] + DAY, NOW + DAY)


def test_several_roots(tmp_path: Path) -> None:
    """All of them are trusted: a rotation under way."""
    other = make_ca("other root")
    ca = _load(tmp_path, cacerts(intermediate(), [], [other, root(), other]))
    assert ca.bundle == TrustBundle.of([root().certificate, other.certificate])


_UNKNOWN_KEY = der.sequence(der.sequence(der.oid("1.3.6.1.4.1.55555.1")), der.bits(b"\x01" * 32))
_X400 = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), der.sequence(der.context(3, der.sequence())))


def _alien() -> Ca:
    odd = certificate(
        name("alien"), _UNKNOWN_KEY, name("alien"), root().key, window=CA_WINDOW, extensions=CA_EXTENSIONS
    )
    return Ca(odd, root().key)


BAD_ROOTS: dict[str, tuple[Ca, str]] = {
    "expired": (make_ca("ended", window=(CA_WINDOW[0], NOW)), "expired at 2025-06-01"),
    "not a CA": (Ca(leaf(subject="x"), root().key), "not a CA certificate"),
    "weak": (make_ca("weak", kind="p521"), "the key is secp521r1"),
    "a key that nobody knows": (_alien(), "left out 'CN=alien'"),
    "a name that nobody reads": (make_ca("x400", extensions=(*CA_EXTENSIONS, (_X400, False))), "left out 'CN=x400'"),
}


@pytest.mark.parametrize(("bad", "why"), BAD_ROOTS.values(), ids=BAD_ROOTS.keys())
def test_one_bad_root(bad: Ca, why: str, tmp_path: Path) -> None:
    """It takes no good ones from the mesh: left out, and said."""
    ca = _load(tmp_path, cacerts(intermediate(), [], [bad, root()]))
    assert ca.bundle == TrustBundle.of([root().certificate])
    (note,) = ca.notes
    assert why in note


def _replaced(**files: bytes | None) -> dict[str, bytes]:
    renamed = {f"{name.replace('_', '-')}.pem": data for name, data in files.items()}
    return {name: data for name, data in {**_PLUGGED_IN, **renamed}.items() if data is not None}


def _alone(signer: Ca) -> dict[str, bytes]:
    return cacerts(signer, [], [root()])


_PKCS1 = key("rsa1024").private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
UNUSABLE: dict[str, tuple[dict[str, bytes], str]] = {
    "another key": (_replaced(ca_key=key_pem(root().key)), "ca-key.pem is not the key of ca-cert.pem: replace both"),
    "key missing": (_replaced(ca_key=None), "neither ca-key.pem nor tls.key is there"),
    "key is rubbish": (_replaced(ca_key=b"rubbish"), "ca-key.pem: holds no usable private key"),
    "key is a certificate": (_replaced(ca_key=root().pem), "ca-key.pem: holds no usable private key"),
    "key is RSA-1024": (_replaced(ca_key=_PKCS1), "ca-key.pem: the key must be RSA"),
    "key is Ed25519": (_replaced(ca_key=key_pem(key("ed25519"))), "ca-key.pem: the key must be RSA"),
    "key is encrypted": (_replaced(ca_key=encrypted(root().key, b"x")), "the key is encrypted: set key_password_file"),
    "certificate missing": (_replaced(ca_cert=None), "ca-cert.pem: the file is missing"),
    "certificate empty": (_replaced(ca_cert=b""), "ca-cert.pem: holds no PEM certificate"),
    "certificate cut off": (_replaced(ca_cert=intermediate().pem[:200]), "ca-cert.pem: holds no PEM certificate"),
    "certificate of an odd key": (_replaced(ca_cert=_alien().pem), "ca-cert.pem"),
    "certificate of an odd version": (_replaced(ca_cert=without_a_version(intermediate())), "ca-cert.pem: "),
    "roots of an odd version": (_replaced(root_cert=root().pem + without_a_version(root())), "root-cert.pem: "),
    "roots missing": (_replaced(root_cert=None), "root-cert.pem: the file is missing"),
    "roots cut off": (_replaced(root_cert=root().pem + make_ca("other").pem[:200]), "root-cert.pem: holds no PEM"),
    "no usable root": (_replaced(root_cert=make_ca("weak", kind="p521").pem), "root-cert.pem: holds no usable root"),
    "another root": (
        _replaced(root_cert=make_ca("other").pem),
        "no certificate of 'CN=root' leads on to root-cert.pem",
    ),
    "chain missing": (
        cacerts(make_ca("signer", intermediate()), [], [root()]),
        "cert-chain.pem: no certificate of 'CN=intermediate' leads on",
    ),
    "expired": (_alone(make_ca("ended", root(), window=(CA_WINDOW[0], NOW))), "ca-cert.pem: expired at 2025-06-01"),
    "not yet valid": (
        _alone(make_ca("early", root(), window=(NOW + timedelta(seconds=1), CA_WINDOW[1]))),
        "ca-cert.pem: valid only from 2025-06-01",
    ),
    "not a CA": (
        _alone(make_ca("leaf", root(), extensions=changed(CA_EXTENSIONS, (x509.BasicConstraints(False, None), True)))),
        "ca-cert.pem: not a CA certificate",
    ),
    "no keyCertSign": (
        _alone(make_ca("no sign", root(), extensions=changed(CA_EXTENSIONS, (usage("crl_sign"), True)))),
        "ca-cert.pem: its keyUsage lacks keyCertSign",
    ),
    "path length": (
        cacerts(
            make_ca(
                "signer",
                _short := make_ca(
                    "short",
                    root(),
                    extensions=(
                        (x509.BasicConstraints(ca=True, path_length=0), True),
                        CA_EXTENSIONS[1],
                    ),
                ),
            ),
            [_short],
            [root()],
        ),
        "certificates of this CA would be refused: path: ",
    ),
    "odd critical extension": (
        _alone(
            make_ca(
                "odd",
                root(),
                extensions=(
                    *CA_EXTENSIONS,
                    (
                        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), der.NULL),
                        True,
                    ),
                ),
            )
        ),
        "certificates of this CA would be refused: path: ",
    ),
}


@pytest.mark.parametrize(("files", "why"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable(files: dict[str, bytes], why: str, tmp_path: Path) -> None:
    """It never gets into use; the file is named, the key never quoted."""
    with pytest.raises(UnusableCa) as refusal:
        _load(tmp_path, files)
    assert why in str(refusal.value)
    assert "PRIVATE" not in str(refusal.value)
