"""Where serving certificates come from: a backend, whose answer is verified, or files, which are judged."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from backends.local.backend import LocalBackend, LocalSettings
from signer.core.chain import TrustBundle
from signer.core.errors import BackendUnavailable, ChainRejected
from signer.core.types import ServerNames
from signer.trust.serving import KeyPair, PairUnavailable
from signer.trust.serving_sources import FromBackend, FromFiles, ServingPlan, load_pair
from tests.corpus.answers import intermediate, leaf, root
from tests.support import der
from tests.support.ca_files import cacerts, encrypted, write
from tests.support.clock import DAY, HOUR, NOW, FakeClock
from tests.support.fakes import FakeBackend, FakeBundle, context
from tests.support.pki import key, key_pem, leaf_extensions, make_ca, spki, without_a_version

_PLAN = ServingPlan(ServerNames(("a.example",), (ip_address("10.0.0.1"),)), DAY, 0.5)


class Desk:
    """A source over the local backend, with its parts in reach."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        files = cacerts(intermediate(), [], [root()])
        self.backend = LocalBackend(LocalSettings(write(directory, files)), context(self.clock))
        self.bundle = FakeBundle(root())
        self.source = FromBackend(self.backend, self.bundle, _PLAN, self.clock)

    async def pair(self) -> KeyPair:
        """The first pair."""
        await self.backend.start()
        return await self.source.obtain()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A fresh one."""
    return Desk(tmp_path)


async def test_from_a_backend(desk: Desk) -> None:
    """A key made here, the names of the plan, the intermediates that peers need."""
    pair = await desk.pair()
    leaf_certificate, above = x509.load_pem_x509_certificates(pair.chain_pem)
    assert above == intermediate().certificate
    assert load_pem_private_key(pair.key_pem, None).public_key() == leaf_certificate.public_key()
    names = leaf_certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("a.example"), x509.IPAddress(ip_address("10.0.0.1"))]
    assert pair.window == (NOW - timedelta(seconds=60), NOW + DAY)
    assert pair.serial == leaf_certificate.serial_number


async def test_each_time_a_new_key(desk: Desk) -> None:
    """A key that leaked is of no use after the next renewal."""
    assert (await desk.pair()).key_pem != (await desk.source.obtain()).key_pem


async def test_due(desk: Desk) -> None:
    """By the grace ratio, a little early."""
    pair = await desk.pair()
    lifetime = pair.window[1] - pair.window[0]
    latest = pair.window[0] + lifetime / 2
    assert latest - lifetime / 100 <= desk.source.due(pair) <= latest


async def test_stale_when_its_root_is_gone(desk: Desk) -> None:
    """A root that joins is no reason, a root that leaves is."""
    pair = await desk.pair()
    assert not desk.source.stale(pair)
    desk.bundle.now = TrustBundle.of([root().certificate, make_ca("new").certificate])
    assert not desk.source.stale(pair)
    desk.bundle.now = TrustBundle.of([make_ca("new").certificate])
    assert desk.source.stale(pair)
    desk.bundle.now = TrustBundle.of([root().certificate])
    assert not desk.source.stale(pair)


async def test_the_answer_is_verified_like_anybodys(desk: Desk) -> None:
    """A backend that answers wrongly gives no serving certificate."""
    desk.bundle.next = TrustBundle.of([make_ca("other").certificate])
    with pytest.raises(ChainRejected, match="path: "):
        await desk.pair()


async def test_a_backend_that_hangs() -> None:
    """Bounded."""
    backend = FakeBackend("slow")
    backend.signing.held = True
    source = FromBackend(backend, FakeBundle(root()), replace(_PLAN, timeout=0.01), FakeClock())
    with pytest.raises(PairUnavailable, match=r"backend slow: no answer in 0\.01 s"):
        await source.obtain()


async def test_a_backend_that_is_down() -> None:
    """Its failure is passed on."""
    backend = FakeBackend("down")
    backend.describing.fault = BackendUnavailable("sealed")
    with pytest.raises(BackendUnavailable):
        await FromBackend(backend, FakeBundle(root()), _PLAN, FakeClock()).obtain()


async def test_not_stale_before_there_is_one() -> None:
    """Nothing obtained: there is nothing to go."""
    source = FromBackend(FakeBackend(), FakeBundle(root()), _PLAN, FakeClock())
    assert source.stale(KeyPair(b"", b"", (NOW, NOW), 0))


_LEAF = leaf(extensions=leaf_extensions("spiffe://x"), public=spki(key("p256/server")))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


_FILES = {"tls.crt": _pem(_LEAF) + intermediate().pem, "tls.key": key_pem(key("p256/server"))}


def _load(directory: Path, **changes: bytes | None) -> KeyPair:
    renamed = {name.replace("_", "."): data for name, data in changes.items()}
    files = {name: data for name, data in {**_FILES, **renamed}.items() if data is not None}
    write(directory, files)
    return load_pair(directory / "tls.crt", directory / "tls.key", NOW)


def test_load_pair(tmp_path: Path) -> None:
    """Leaf first, then what stands after it."""
    pair = _load(tmp_path)
    assert x509.load_pem_x509_certificates(pair.chain_pem) == [_LEAF, intermediate().certificate]
    assert pair.window == (_LEAF.not_valid_before_utc, _LEAF.not_valid_after_utc)
    assert pair.serial == _LEAF.serial_number


_UNKNOWN_KEY = der.sequence(der.sequence(der.oid("1.3.6.1.4.1.55555.1")), der.bits(b"\x01" * 32))


BAD: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no certificate": ({"tls_crt": None}, "tls.crt: cannot be read: No such file"),
    "no key": ({"tls_key": None}, "tls.key: cannot be read: No such file"),
    "rubbish": ({"tls_crt": b"rubbish"}, "tls.crt: holds no PEM certificate"),
    "cut off": ({"tls_crt": _FILES["tls.crt"][:-200]}, "tls.crt: "),
    "a key for a certificate": ({"tls_crt": _FILES["tls.key"]}, "tls.crt: holds no PEM certificate"),
    "rubbish key": ({"tls_key": b"rubbish"}, "tls.key: holds no usable, unencrypted private key"),
    "encrypted key": ({"tls_key": encrypted(key("p256/server"), b"x")}, "tls.key: holds no usable, unencrypted"),
    "weak key": ({"tls_key": key_pem(key("rsa1024"))}, "tls.key: the key must be RSA"),
    "another key": ({"tls_key": key_pem(key("p256/other"))}, "tls.key is not the key of"),
    "expired": (
        {"tls_crt": _pem(leaf(public=spki(key("p256/server")), window=(NOW - HOUR, NOW)))},
        "not valid now, it ends at 2025-06-01T12:00:00",
    ),
    "not yet valid": (
        {"tls_crt": _pem(leaf(public=spki(key("p256/server")), window=(NOW + HOUR, NOW + DAY)))},
        "tls.crt: not valid now",
    ),
    "a version that is none": ({"tls_crt": without_a_version(intermediate())}, "tls.crt: "),
    "a key that nobody knows": ({"tls_crt": _pem(leaf(public=_UNKNOWN_KEY))}, "tls."),
}


@pytest.mark.parametrize(("changes", "why"), BAD.values(), ids=BAD.keys())
def test_bad_pair(changes: dict[str, bytes | None], why: str, tmp_path: Path) -> None:
    """The file is named, and the fault."""
    with pytest.raises(PairUnavailable) as refusal:
        _load(tmp_path, **changes)
    assert why in str(refusal.value)


async def test_from_files(tmp_path: Path) -> None:
    """Read again soon: they change when they change; whoever writes them decides on their root."""
    write(tmp_path, _FILES)
    clock = FakeClock()
    source = FromFiles(tmp_path / "tls.crt", tmp_path / "tls.key", clock)
    pair = await source.obtain()
    assert pair.serial == _LEAF.serial_number
    assert source.due(pair) == NOW + timedelta(seconds=2)
    assert not source.stale(pair)
    clock.advance(DAY)
    with pytest.raises(PairUnavailable, match="not valid now"):
        await source.obtain()
