"""CAs on disk: made by `istio-signer init`, changed under the signer's feet as an operator or a Secret would."""

import itertools
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.e2e.command import istio_signer
from tests.mesh.pki import Authority, key_pem, pem

NAMES = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")

CaFiles = dict[str, str]
"""File name -> contents, under Istio's `cacerts` names."""


def make_ca(directory: Path, *options: str) -> CaFiles:
    """Run `istio-signer init`, and give what the signer needs of its output."""
    done = istio_signer("init", "--directory", directory, *options)
    assert done.code == 0, done.err
    return {name: (directory / name).read_text() for name in NAMES}


def renewed_intermediate(directory: Path, name: str) -> CaFiles:
    """A new intermediate under the root that `make_ca` left in `directory`/offline."""
    offline = directory / "offline"
    certificate = x509.load_pem_x509_certificate((offline / "root-cert.pem").read_bytes())
    key = load_pem_private_key((offline / "root-key.pem").read_bytes(), None)
    issuer = Authority(certificate, key).intermediate(name)  # type: ignore[arg-type]  # init makes EC and RSA keys only
    own = pem(issuer.certificate)
    return {
        "ca-cert.pem": own,
        "ca-key.pem": key_pem(issuer.key),
        "cert-chain.pem": own + pem(certificate),
        "root-cert.pem": pem(certificate),
    }


def with_roots(files: CaFiles, *others: CaFiles) -> CaFiles:
    """The same CA, with the others' roots trusted beside its own."""
    roots = "".join(each["root-cert.pem"] for each in (files, *others))
    return {**files, "root-cert.pem": roots}


def subject(files: CaFiles) -> str:
    """The subject of the signing certificate."""
    return x509.load_pem_x509_certificate(files["ca-cert.pem"].encode()).subject.rfc4514_string()


class SecretMount:
    """A directory that changes as a mounted Secret does: the kubelet swaps one symbolic link for all files at once."""

    def __init__(self, path: Path, files: Mapping[str, str]) -> None:
        self.path = path
        self._numbers = itertools.count()
        path.mkdir(parents=True)
        self.write(files)
        for name in files:
            (path / name).symlink_to(Path("..data") / name)

    def write(self, files: Mapping[str, str]) -> None:
        """Replace all contents at once."""
        version = self.path / f"..version-{next(self._numbers)}"
        version.mkdir(mode=0o700)
        for name, text in files.items():
            (version / name).write_text(text)
        link = self.path / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.path / "..data")
