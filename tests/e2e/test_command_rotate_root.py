"""`rotate-root` as a user runs it: a CA and a record in files, each step a process of its own."""

import fcntl
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests.e2e.ca import make_ca
from tests.e2e.command import Done, istio_signer

pytestmark = pytest.mark.timeout(120)

SHORT = {"trust": {"client_interval": "1s", "settle": "0s"}}
# A process takes longer to start than those; who must be too early waits for these.
LONG = {"trust": {"client_interval": "1h", "settle": "1m"}}
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@dataclass(frozen=True, slots=True)
class Scene:
    """A CA, a record and a configuration in one folder."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The CA in use."""
        return self.folder / "ca"

    @property
    def record(self) -> Path:
        """The rotation's state."""
        return self.folder / "record.json"

    def configure(self, changes: Mapping[str, Any], *, record: bool = True) -> None:
        """Write the configuration."""
        sections: dict[str, Any] = {
            "backends": {"local": {"type": "local", "directory": str(self.ca)}},
            "certificates": {"default_ttl": "2s", "max_ttl": "2s"},
            "serving": {"ttl": "2s"},
            "trust": {},
            **changes,
        }
        sections["trust"] = {**sections["trust"], **({"record_file": str(self.record)} if record else {})}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(sections))

    def rotate(self, step: str, *options: str | Path) -> Done:
        """Take a step; the new root's key goes to the folder."""
        offline = ("--root-directory", self.folder / "offline") if step == "start" else ()
        return istio_signer("rotate-root", step, "--config", self.folder / "config.yaml", *offline, *options)

    def status(self) -> Any:
        """What programs are told."""
        done = self.rotate("status", "-o", "json")
        assert (done.code, done.err) == (0, "")
        return done.json()

    def phase(self) -> str:
        """Where it stands."""
        return str(self.status()["rotation"]["phase"])

    def roots(self) -> list[x509.Certificate]:
        """Whom the CA's files have everybody trust."""
        return x509.load_pem_x509_certificates((self.ca / "root-cert.pem").read_bytes())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A CA that was never rotated, and short times."""
    made = Scene(tmp_path)
    make_ca(made.ca)
    made.configure(SHORT)
    return made


def mark(certificate: x509.Certificate) -> str:
    """As the command shows one."""
    return certificate.fingerprint(SHA256()).hex()


def test_all_the_way(scene: Scene) -> None:
    """Three commands, of which two wait; in the end the CA is another one, and nothing lies about."""
    (old,) = scene.roots()
    names = {path.name for path in scene.ca.iterdir()}
    assert scene.rotate("start").code == 0
    (file,) = (scene.folder / "offline").glob("root-*/root-cert.pem")
    (new,) = x509.load_pem_x509_certificates(file.read_bytes())
    for phase in ("signing", "done"):
        done = scene.rotate("advance", "--wait")
        assert (done.code, f": {phase} since " in done.out) == (0, True), done.err
        assert set(scene.roots()) == ({old, new} if phase == "signing" else {new})
    assert {path.name for path in scene.ca.iterdir()} == names
    assert done.out.endswith("the old root is gone\n")
    assert scene.status() == {"rotation": {**scene.status()["rotation"], "phase": "done"}, "gate": None}


def test_advance_waits(scene: Scene) -> None:
    """And shows what for, a line for each change where nobody watches; what it waits for is over when it ends."""
    assert scene.rotate("start").code == 0
    record = json.loads(scene.record.read_text())
    entered = datetime.now(UTC) + timedelta(seconds=4)
    record["rotation"]["since"] = entered.isoformat()
    scene.record.write_text(json.dumps(record))
    done = scene.rotate("advance", "--wait")

    assert done.code == 0, done.err
    assert datetime.now(UTC) >= entered + timedelta(seconds=1)
    line = rf"waits for every client to have had an answer with the new root: until {MOMENT}, \d+s from now"
    assert re.fullmatch(rf"({line}\n)+", done.err), done.err


def test_status_for_people(scene: Scene) -> None:
    done = scene.rotate("status")
    assert (done.code, done.out, done.err) == (0, "no rotation was ever begun\n", "")

    scene.configure(LONG)
    (old,) = scene.roots()
    started = scene.rotate("start")
    shown = scene.rotate("status")
    assert (started.code, shown.code, shown.err) == (0, 0, "")
    lines = shown.out.splitlines()
    assert re.fullmatch(rf"rotation \d{{8}}-[0-9a-f]{{6}} of backend local: trusting since {MOMENT}", lines[0])
    assert lines[1] == f"  old  {old.subject.rfc4514_string()}  {mark(old)[:16]}"
    assert lines[2].startswith("  new  ")
    assert lines[3] == "next: advance lets the new issuer sign; abort is possible until then"
    waits = "waits for every client to have had an answer with the new root"
    assert re.fullmatch(rf"{waits}: until {MOMENT}, \S+ from now", lines[4])
    assert started.out.splitlines()[:4] == lines[:4], "a step shows what status shows"


def test_status_for_programs(scene: Scene) -> None:
    assert scene.status() == {"rotation": None}

    scene.configure(LONG)
    (old,) = scene.roots()
    started = scene.rotate("start", "-o", "json").json()
    (file,) = (scene.folder / "offline").glob("root-*/root-cert.pem")
    (new,) = x509.load_pem_x509_certificates(file.read_bytes())
    shown = scene.status()
    assert started == shown
    rotation, gate = shown["rotation"], shown["gate"]
    assert rotation.keys() == {"id", "backend", "phase", "since", "old", "new"}
    assert (rotation["backend"], rotation["phase"]) == ("local", "trusting")
    assert (rotation["old"], rotation["new"]) == ([mark(old)], mark(new))
    assert gate.keys() == {"open", "waits_for", "until"}
    assert (gate["open"], gate["waits_for"]) == (False, "every client to have had an answer with the new root")
    waited = datetime.fromisoformat(gate["until"]) - datetime.fromisoformat(rotation["since"])
    assert waited == timedelta(hours=1, minutes=1)


def test_too_early(scene: Scene) -> None:
    """3: try again; with what is waited for, and nothing changed."""
    scene.configure(LONG)
    assert scene.rotate("start").code == 0
    before = scene.record.read_bytes()
    done = scene.rotate("advance")

    assert (done.code, done.out, scene.record.read_bytes()) == (3, "", before)
    told = "istio-signer rotate-root: too early: waits for every client to have had an answer with the new root"
    assert re.fullmatch(rf"{told}: until {MOMENT}, \S+ from now\n", done.err)


def test_abort(scene: Scene) -> None:
    """Until the new issuer signs: everything is as before, and another one can begin."""
    before = {path.name: path.read_bytes() for path in scene.ca.iterdir() if path.is_file()}
    assert scene.rotate("start").code == 0
    done = scene.rotate("abort")
    assert (done.code, done.out.splitlines()[-1]) == (0, "everything is as before")
    assert {path.name: path.read_bytes() for path in scene.ca.iterdir() if path.is_file()} == before
    assert scene.phase() == "aborted"
    assert scene.rotate("start").code == 0


def test_abort_after_the_switch(scene: Scene) -> None:
    """1: leaves of the new root may live."""
    assert scene.rotate("start").code == 0
    assert scene.rotate("advance", "--wait").code == 0
    before = scene.record.read_bytes()
    done = scene.rotate("abort")

    assert (done.code, done.out, scene.record.read_bytes()) == (1, "", before)
    assert "is signing: the new issuer may have signed, and to abort would break its leaves" in done.err


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("advance", "no rotation is under way; begin one with start"),
        ("abort", "no rotation is under way"),
    ],
)
def test_nothing_is_under_way(scene: Scene, step: str, says: str) -> None:
    done = scene.rotate(step)

    assert (done.code, done.out, done.err) == (1, "", f"istio-signer rotate-root: {says}\n")


def test_one_at_a_time(scene: Scene) -> None:
    assert scene.rotate("start").code == 0
    done = scene.rotate("start")

    assert done.code == 1
    assert "of backend local is trusting: advance or abort it first" in done.err


def test_no_place_for_the_record(scene: Scene) -> None:
    """1, with what to set."""
    scene.configure(SHORT, record=False)
    done = scene.rotate("start")

    assert (done.code, done.out) == (1, "")
    assert "set distribution.enabled, or trust.record_file where there is no cluster" in done.err


def test_a_backend_that_is_not_there(scene: Scene) -> None:
    done = scene.rotate("start", "--backend", "vault")

    assert (done.code, done.err) == (1, "istio-signer rotate-root: there is no backend 'vault'; there are local\n")
    assert not scene.record.exists()


def test_an_issuer_for_a_ca_without_issuers(scene: Scene) -> None:
    """Nothing is begun that no later step could go on with."""
    done = scene.rotate("start", "--issuer", "next")

    assert (done.code, done.out) == (1, "")
    assert "a local CA has no issuer to name: leave --issuer out" in done.err
    assert scene.status() == {"rotation": None}


def test_a_step_is_about_the_backend_under_way(scene: Scene) -> None:
    """Another one's hands would do nothing, and the record would say that all is done."""
    make_ca(scene.folder / "other")
    both = {
        name: {"type": "local", "directory": str(scene.folder / d)} for name, d in (("local", "ca"), ("b", "other"))
    }
    scene.configure({**SHORT, "backends": both, "routes": [{"backends": ["local", "b"]}]})
    assert scene.rotate("start").code == 0
    staged = {path.name for path in scene.ca.iterdir()}
    for step in ("advance", "abort", "start"):
        done = scene.rotate(step, "--backend", "b")
        assert done.code == 1, done.out
        assert "is of backend local: leave --backend out, or end it first" in done.err
    assert ({path.name for path in scene.ca.iterdir()}, scene.phase()) == (staged, "trusting")
    assert scene.rotate("abort", "--backend", "local").code == 0
    assert scene.rotate("start", "--backend", "b").code == 0
    assert scene.status()["rotation"]["backend"] == "b"


def test_a_backend_that_cannot_be_rotated(scene: Scene) -> None:
    """1, with what to do by hand."""
    scene.configure({**SHORT, "backends": {"k": {"type": "kubernetes-csr", "signer_name": "example.com/mesh"}}})
    done = scene.rotate("start")

    assert done.code == 1, done.err
    assert "backends of type kubernetes-csr cannot be rotated from here: add the new root to its roots_file" in done.err


def test_wrong_usage(scene: Scene) -> None:
    """2: the step, or the configuration."""
    assert scene.rotate("sing").code == 2
    assert istio_signer("rotate-root").code == 2
    scene.configure({"trust": {"client_interval": "1"}})
    done = scene.rotate("status")
    assert done.code == 2
    assert "trust.client_interval" in done.err


def test_a_record_that_cannot_be_read(scene: Scene) -> None:
    """3, with the file; it is not taken for an empty one."""
    scene.record.write_text("garbage")
    for step in ("start", "status"):
        done = scene.rotate(step)
        assert (done.code, done.out) == (3, "")
        assert f"{scene.record}: it cannot be read" in done.err
    assert scene.record.read_text() == "garbage"


def test_somebody_holds_the_record(scene: Scene) -> None:
    """3: try again; to look needs no lock."""
    with (scene.folder / "record.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = scene.rotate("start")
        assert (done.code, done.out) == (3, "")
        assert "others write the record all the time; try again" in done.err
        assert scene.status() == {"rotation": None}
    assert scene.rotate("start").code == 0
