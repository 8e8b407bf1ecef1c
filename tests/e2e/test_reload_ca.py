"""The CA changes under constant requests, on kept and on fresh connections, and no call fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.cluster.poll import until
from tests.e2e.ca import CaFiles, SecretMount, make_ca, renewed_intermediate, subject, with_roots
from tests.e2e.conftest import NewWorkload, StartSigner
from tests.e2e.process import SignerProcess
from tests.e2e.stream import BATCH, Stream
from tests.e2e.workload import Workload
from tests.mesh.x509_strict import verify_strict

pytestmark = pytest.mark.timeout(240)

RELOAD_LIMIT = 15.0
"""Seconds. The files are compared every second."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A signer whose CA is a mounted Secret, and clients that trust the roots of before and after."""

    mount: SecretMount
    signer: SignerProcess
    workload: Workload
    first: CaFiles
    renewed: CaFiles
    second: CaFiles

    @contextmanager
    def requests(self) -> Iterator[list[Stream]]:
        """Requests on kept and on fresh connections all through the block; none may fail."""
        kept = Stream(lambda: self.workload.flood(self.signer, BATCH))
        fresh = Stream(lambda: self.workload.flood(self.signer, BATCH, "-fresh", "-warmup", "-1"))
        with kept, fresh:
            yield [kept, fresh]
        for stream in (kept, fresh):
            stream.check()
            assert stream.failures == {}, stream.first_error
            assert stream.sent > 0

    def swap(self, files: CaFiles, streams: list[Stream]) -> list[str]:
        """Change the CA in the middle of the requests, wait until it signs, and give an answer of its own."""
        for stream in streams:
            stream.wait_for()
        self.mount.write(files)
        chain = until(lambda: self._signed_by(files), deadline=RELOAD_LIMIT, what=f"{subject(files)} to sign")
        for stream in streams:
            stream.wait_for()
        return chain

    def serves_with_the_second_root(self) -> bool:
        """Whether a client that has forgotten the first root gets through."""
        only = self.mount.path / "root-cert.pem"
        return self.workload.ask(self.signer, "-root", only, "-guard", "5s")["code"] == "OK"

    def _signed_by(self, files: CaFiles) -> list[str] | None:
        chain = list(self.workload.obtain(self.signer).chain)
        return chain if chain[1] == files["ca-cert.pem"] and sorted_roots(chain[-1]) == expected(files) else None


def sorted_roots(text: str) -> list[bytes]:
    """The roots of an answer, in its order."""
    return [root.fingerprint(root.signature_hash_algorithm) for root in x509.load_pem_x509_certificates(text.encode())]  # type: ignore[arg-type]


def expected(files: CaFiles) -> list[bytes]:
    """The same of the files, in the one order that all replicas agree on."""
    return sorted(sorted_roots(files["root-cert.pem"]))


@pytest.fixture
def scene(start_signer: StartSigner, new_workload: NewWorkload, tmp_path: Path) -> Scene:
    """A signer that signs with the first CA."""
    first, second = make_ca(tmp_path / "first"), make_ca(tmp_path / "second")
    renewed = renewed_intermediate(tmp_path / "first", "Renewed Intermediate CA")
    mount = SecretMount(tmp_path / "mount", first)
    both = tmp_path / "both.pem"
    both.write_text(with_roots(first, second)["root-cert.pem"])
    signer = start_signer(ca=mount.path, roots=both)
    return Scene(mount, signer, new_workload(), first, renewed, second)


def test_new_intermediate_under_the_same_root(scene: Scene) -> None:
    with scene.requests() as streams:
        before = scene.workload.obtain(scene.signer).chain
        after = scene.swap(scene.renewed, streams)

    assert before[1] == scene.first["ca-cert.pem"] != after[1]
    assert before[-1] == after[-1], "the roots are the same bytes, or every agent would push to its Envoy"
    verify_strict(after, "sslserver")


def test_new_root_in_three_phases(scene: Scene) -> None:
    """Both are trusted, then the new CA signs, then the old root is forgotten, and the serving certificate with it."""
    both = with_roots(scene.second, scene.first)
    with scene.requests() as streams:
        distributed = scene.swap(with_roots(scene.first, scene.second), streams)
        switched = scene.swap(both, streams)
        finished = scene.swap(scene.second, streams)
        until(scene.serves_with_the_second_root, deadline=RELOAD_LIMIT, what="a serving certificate of the new root")

    assert distributed[-1] == switched[-1], "the same bundle, whichever CA signs"
    assert finished[-1] == scene.second["root-cert.pem"]
    for chain in (distributed, switched, finished):
        verify_strict(chain, "sslclient")


def test_new_root_at_once(scene: Scene) -> None:
    """The first answer of the new CA already has both roots, and the serving certificate stays with the old one."""
    both = with_roots(scene.second, scene.first)
    with scene.requests() as streams:
        chain = scene.swap(both, streams)

    verify_strict(chain, "sslserver")
    assert scene.signer.log().count("serving certificate") == 1, "clients that know the first root only still get in"


def test_bad_files_change_nothing(scene: Scene) -> None:
    """The key of another CA: the old pair goes on, and the log says why."""
    mismatched = {**scene.second, "ca-key.pem": scene.first["ca-key.pem"]}
    with scene.requests() as streams:
        scene.mount.write(mismatched)
        scene.signer.wait_log("ca-key.pem is not the key of ca-cert.pem")
        for stream in streams:
            stream.wait_for()
        chain = scene.workload.obtain(scene.signer).chain
        assert chain[1] == scene.first["ca-cert.pem"]
        scene.swap(scene.renewed, streams)

    assert scene.signer.log().count("new CA files refused") == 1, "once, not every second"
