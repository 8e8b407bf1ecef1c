"""`init`, `demo` and `--help`, as a user runs them."""

import json
import os
import signal
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.cluster.poll import until
from tests.e2e.command import PROGRAM, ROOT, istio_signer

pytestmark = pytest.mark.timeout(120)

VERBS = ("serve", "init", "request", "check", "explain", "demo")
MODES = {
    "offline/root-key.pem": 0o600,
    "offline/root-cert.pem": 0o644,
    "root-cert.pem": 0o644,
    "cert-chain.pem": 0o644,
    "ca-cert.pem": 0o644,
    "ca-key.pem": 0o600,
}


def contents(directory: Path) -> dict[str, bytes]:
    """All files below."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_init_makes_the_files(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "ca"
    done = istio_signer("init", "--directory", directory)

    assert done.code == 0, done.err
    assert contents(directory).keys() == MODES.keys()
    assert {name: stat.S_IMODE((directory / name).stat().st_mode) for name in MODES} == MODES
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert f"take {directory}/offline/root-key.pem offline" in done.out


def test_init_makes_a_ca_that_openssl_would_sign_with(tmp_path: Path) -> None:
    assert istio_signer("init", "--directory", tmp_path / "ca", "--trust-domain", "example.org").code == 0
    root, intermediate = (
        x509.load_pem_x509_certificate((tmp_path / "ca" / name).read_bytes())
        for name in ("root-cert.pem", "ca-cert.pem")
    )
    intermediate.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    constraints = intermediate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert "O=example.org" in intermediate.subject.rfc4514_string()


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    """Also where only one of the files is there."""
    directory = tmp_path / "ca"
    directory.mkdir()
    (directory / "ca-key.pem").write_text("precious")
    done = istio_signer("init", "--directory", directory)

    assert done.code == 1
    assert f"{directory}/ca-key.pem exists" in done.err
    assert contents(directory) == {"ca-key.pem": b"precious"}


def test_init_encrypts_both_keys(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    done = istio_signer("init", "--directory", tmp_path / "ca", "--password-file", password, "-o", "json")

    assert done.code == 0, done.err
    assert done.json()["root_key"].endswith("offline/root-key.pem")
    for name in ("ca-key.pem", "offline/root-key.pem"):
        data = (tmp_path / "ca" / name).read_bytes()
        assert b"ENCRYPTED" in data
        load_pem_private_key(data, b"correct horse")


def test_init_tells_the_real_ends(tmp_path: Path) -> None:
    """An intermediate never outlives its root, whatever was asked for."""
    done = istio_signer("init", "--directory", tmp_path / "ca", "--root-ttl", "30d", "-o", "json")
    ends = done.json()["not_after"]
    assert ends["intermediate"] == ends["root"]

    done = istio_signer("init", "--directory", tmp_path / "other", "--root-ttl", "30d")
    certificate = x509.load_pem_x509_certificate((tmp_path / "other" / "ca-cert.pem").read_bytes())
    assert f"intermediate valid to {certificate.not_valid_after_utc.isoformat()}" in done.out
    assert "365d" not in done.out


def test_init_where_nothing_can_be_made() -> None:
    done = istio_signer("init", "--directory", "/proc/nowhere")

    assert (done.code, done.err) == (1, "istio-signer init: /proc/nowhere: No such file or directory\n")


def test_init_apart_root(tmp_path: Path) -> None:
    done = istio_signer("init", "--directory", tmp_path / "ca", "--root-directory", tmp_path / "safe")

    assert done.code == 0, done.err
    assert not list((tmp_path / "ca").rglob("root-key.pem"))
    assert (tmp_path / "safe" / "root-key.pem").exists()


@pytest.mark.parametrize("wrong", [["--root-ttl", "90"], ["--key-type", "ed25519"], ["--trust-domain", "a b"]])
def test_init_with_a_wrong_option_is_a_usage_error(tmp_path: Path, wrong: list[str]) -> None:
    done = istio_signer("init", "--directory", tmp_path / "ca", *wrong)

    assert done.code == 2
    assert wrong[0] in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "ca").exists()


def test_demo_passes(tmp_path: Path) -> None:
    done = istio_signer("demo", "--ttl", "4", "--rotations", "1", "--directory", tmp_path)

    assert done.code == 0, done.err
    assert "the server saw  spiffe://cluster.local/ns/demo/sa/frontend" in done.out
    assert "the client saw  spiffe://cluster.local/ns/demo/sa/backend" in done.out
    assert "done: issued, rotated, proven" in done.out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--ttl", "0"],
        ["--ttl", "-5"],
        ["--ttl", "86401"],
        ["--grace-ratio", "2"],
        ["--grace-ratio", "nan"],
        ["--rotations", "-1"],
    ],
    ids=" ".join,
)
def test_demo_with_a_wrong_option_is_a_usage_error(tmp_path: Path, wrong: list[str]) -> None:
    done = istio_signer("demo", "--directory", tmp_path / "demo", *wrong, timeout=20)

    assert done.code == 2
    assert f"argument {wrong[0]}: give a " in done.err
    assert not (tmp_path / "demo").exists()


def test_demo_where_nothing_can_be_written() -> None:
    done = istio_signer("demo", "--directory", "/proc/nowhere")

    assert done.code == 1
    assert done.err == "istio-signer demo: /proc/nowhere: No such file or directory\n"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_demo_that_is_ended_leaves_no_server(tmp_path: Path, end: signal.Signals) -> None:
    command = [*PROGRAM, "demo", "--ttl", "60", "--directory", str(tmp_path)]
    ready = tmp_path / "ready.json"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as demo:
        try:
            until(ready.exists, deadline=30, what="the demo's server")
        finally:
            demo.send_signal(end)
    server = Path(f"/proc/{json.loads(ready.read_text())['pid']}")
    try:
        until(lambda: not server.exists(), deadline=10, what="the demo's server to end")
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(server.name), signal.SIGKILL)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(verb: str) -> None:
    done = istio_signer(verb, "--help")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: istio-signer {verb}")


def test_help_names_every_verb_and_the_exit_codes() -> None:
    done = istio_signer("--help")

    assert done.code == 0
    assert all(f"\n    {verb} " in done.out for verb in VERBS)
    assert "exit codes: 0" in done.out


def test_no_verb_is_a_usage_error() -> None:
    assert istio_signer().code == 2
    assert istio_signer("sing").code == 2
